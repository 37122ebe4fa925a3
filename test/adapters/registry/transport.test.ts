// TLS as the transport sees it: trusted, untrusted, and through the environment's proxy.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer as createHttpServer, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { connect, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { failByConnection } from "../../../src/adapters/registry/failure.ts";
import { createTransport } from "../../../src/adapters/registry/transport.ts";
import { run } from "../../support/run.ts";
import { missingTools } from "../../support/tools.ts";

const TRANSPORT = new URL("../../../src/adapters/registry/transport.ts", import.meta.url).href;

/** Fetches a URL's text through a transport in a process of its own, whose environment decides on trust and proxies. */
const SCRIPT = `
  const { createTransport, readUpTo } = await import(${JSON.stringify(TRANSPORT)});
  const transport = createTransport({ idleTimeoutMs: 20_000 });
  const response = await transport.send({ method: "GET", url: new URL(process.env.TARGET) });
  console.log(response.status, (await readUpTo(response, 1_000)).toString());
`;

describe.skipIf(missingTools("openssl") !== undefined)("the transport", () => {
  let folder: string;
  let server: Server;
  let url: string;
  const certificate = (): string => join(folder, "certificate.pem");
  const fetchElsewhere = (env: Record<string, string>): Promise<string> =>
    run(process.execPath, ["--input-type=module-typescript", "--eval", SCRIPT], {
      env: { TARGET: url, NO_PROXY: "", no_proxy: "", ...env },
    });

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "lighter-tls-"));
    const key = join(folder, "key.pem");
    const subject = ["-subj", "/CN=registry", "-addext", "subjectAltName=IP:127.0.0.1"];
    const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    await run("openssl", ["req", "-x509", ...curve, "-days", "2", ...subject, "-keyout", key, "-out", certificate()]);
    server = createTlsServer({ key: readFileSync(key), cert: readFileSync(certificate()) }, (_, response) => {
      response.end("over tls");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/v2/`;
  });
  afterAll(async () => {
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true, force: true });
  });

  test("reads from a registry whose certificate is trusted", async () => {
    expect(await fetchElsewhere({ NODE_EXTRA_CA_CERTS: certificate() })).toBe("200 over tls\n");
  });

  test("refuses one that is not, which no repetition cures", async () => {
    const transport = createTransport({ idleTimeoutMs: 20_000 });
    const cause: unknown = await transport.send({ method: "GET", url: new URL(url) }).catch((error: unknown) => error);
    transport.close();
    const error = failByConnection({ operation: "read", subject: "a/b", notFound: "BLOB_UNKNOWN" }, cause);
    expect(error).toMatchObject({ code: "UNREACHABLE", retryable: false });
    expect(error.got).toContain("self-signed certificate");
  });

  test("goes through the environment's proxy", async () => {
    const asked: string[] = [];
    const proxy = createHttpServer();
    proxy.on("connect", ({ url: target = "" }, client) => {
      asked.push(target);
      const upstream = connect(Number(target.split(":")[1]), "127.0.0.1", () => {
        client.write("HTTP/1.1 200 Connection established\r\n\r\n");
        client.pipe(upstream).pipe(client);
      });
      client.on("error", () => upstream.destroy());
      upstream.on("error", () => client.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    const HTTPS_PROXY = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    const env = { NODE_EXTRA_CA_CERTS: certificate(), HTTPS_PROXY, https_proxy: HTTPS_PROXY };
    expect(await fetchElsewhere(env)).toBe("200 over tls\n");
    expect(asked).toEqual([new URL(url).host]);
    await new Promise((resolve) => proxy.close(resolve));
  });
});
