// Blob reads that are sent to storage on another port, as Azure's registry does.
import { ContainerRegistryContentClient } from "@azure/container-registry";
import { createDefaultHttpClient } from "@azure/core-rest-pipeline";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { missingTools } from "../../support/tools.ts";
import { digestOf, errorCodes, pushBlob, pushImage, seededBytes, startRegistry, temporaryFolder } from "./support.ts";

const blob = seededBytes(40, 400_000);
const digest = digestOf(blob);

test("a GET is answered with 307 to a signed link that serves the blob and its ranges", async () => {
  const { url } = await startRegistry({ redirectBlobs: true });
  await pushBlob(url, "team/app", blob);
  const path = `${url}/v2/team/app/blobs/${digest}`;
  const sent = await fetch(path, { redirect: "manual" });
  const location = sent.headers.get("location") ?? "";
  expect([sent.status, new URL(location).origin === url]).toEqual([307, false]);
  expect(Buffer.from(await (await fetch(location)).arrayBuffer()).equals(blob)).toBe(true);
  const part = await fetch(path, { headers: { Range: "bytes=10-19" } });
  expect(part.status).toBe(206);
  expect(Buffer.from(await part.arrayBuffer()).equals(blob.subarray(10, 20))).toBe(true);
  const head = await fetch(path, { method: "HEAD", redirect: "manual" });
  expect([head.status, head.headers.get("content-length")]).toEqual([200, "400000"]);
  const unknown = await fetch(path.replace(digest, digestOf(Buffer.from("x"))), { redirect: "manual" });
  expect([unknown.status, await errorCodes(unknown)]).toEqual([404, ["BLOB_UNKNOWN"]]);
});

test("storage refuses a link that was altered, and one that comes with Authorization", async () => {
  const { url } = await startRegistry({ redirectBlobs: true });
  await pushBlob(url, "team/app", blob);
  const sent = await fetch(`${url}/v2/team/app/blobs/${digest}`, { redirect: "manual" });
  const location = sent.headers.get("location") ?? "";
  expect((await fetch(location.replace("team/app", "team/other"))).status).toBe(403);
  expect((await fetch(location.replace(/sig=./, "sig=x"))).status).toBe(403);
  expect((await fetch(location, { headers: { Authorization: "Bearer x" } })).status).toBe(400);
});

test("both requests count for the client that was sent", async () => {
  const registry = await startRegistry({ redirectBlobs: true });
  await pushBlob(registry.url, "team/app", blob);
  const url = await registry.endpoint("device-1");
  await (await fetch(`${url}/v2/team/app/blobs/${digest}`)).arrayBuffer();
  const traffic = registry.traffic("device-1");
  expect([traffic.requests, traffic.connections]).toEqual([2, 2]);
  expect(traffic.responseBytes).toBeGreaterThan(blob.length);
});

test("Azure's SDK follows, without its token", async () => {
  const auth = { challenge: "bearer", identities: [{ name: "builder", accessToken: "entra" }] } as const;
  const { url } = await startRegistry({ redirectBlobs: true, auth });
  const base = createDefaultHttpClient();
  const token = { token: "entra", expiresOnTimestamp: Date.now() + 3_600_000 };
  const client = new ContainerRegistryContentClient(
    url.replace("http:", "https:"),
    "team/app",
    { getToken: () => Promise.resolve(token) },
    {
      retryOptions: { maxRetries: 0 },
      httpClient: {
        async sendRequest(request) {
          request.url = request.url.replace("https://127.0.0.1", "http://127.0.0.1");
          request.allowInsecureConnection = true;
          return await base.sendRequest(request);
        },
      },
    },
  );
  await client.uploadBlob(blob);
  const { content } = await client.downloadBlob(digest);
  expect((await buffer(content)).equals(blob)).toBe(true);
});

test.skipIf(missingTools("skopeo") !== undefined)("skopeo follows, without its credentials", async () => {
  const registry = await startRegistry({
    redirectBlobs: true,
    auth: { challenge: "bearer", users: [{ name: "a", password: "b" }] },
  });
  const { host } = registry;
  const open = await startRegistry();
  await pushImage(open.url, "team/app", "1", blob);
  const folder = `dir:${join(await temporaryFolder(), "image")}`;
  const skopeo = (...args: string[]): Promise<unknown> => promisify(execFile)("skopeo", ["copy", ...args]);
  await skopeo("--src-tls-verify=false", `docker://${open.host}/team/app:1`, folder);
  await skopeo(
    "--dest-tls-verify=false",
    "--preserve-digests",
    "--dest-creds=a:b",
    folder,
    `docker://${host}/team/app:1`,
  );
  const back = join(await temporaryFolder(), "image");
  await skopeo("--src-tls-verify=false", "--src-creds=a:b", `docker://${host}/team/app:1`, `dir:${back}`);
  expect((await readFile(join(back, digest.slice("sha256:".length)))).equals(blob)).toBe(true);
});
