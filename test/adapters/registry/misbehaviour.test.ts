// How both registry adapters take registries that lie, break off, throttle or hang while being read.
import { afterEach, describe, expect, test } from "vitest";
import type { ClosableRegistries, RegistriesOptions } from "../../../src/adapters/registry/index.ts";
import type { Repository } from "../../../src/ports/registry.ts";
import { type Script, type ScriptedRegistry, startScriptedRegistry } from "../../support/scripted-registry.ts";
import { seededBytes } from "../../support/seeded-bytes.ts";
import { collect, createPatientRegistries, describeBytes, failureOf, manifestOf } from "./fixtures.ts";

const MIB = 1024 * 1024;
const content = seededBytes("misbehaviour", 2 * MIB + 17);
const blob = describeBytes(content);
const manifest = manifestOf(blob, []);
const manifestDigest = describeBytes(manifest.bytes).digest;

let open: { registry: ScriptedRegistry; registries: ClosableRegistries }[] = [];
afterEach(async () => {
  for (const { registry, registries } of open) {
    await registries.close();
    await registry.close();
  }
  open = [];
});

/** A scripted registry and a repository of it through the adapter under test. */
async function start(
  kind: "oci" | "acr",
  script: Script,
  options: RegistriesOptions = {},
): Promise<{ repository: Repository; registry: ScriptedRegistry; pauses: number[] }> {
  const registry = await startScriptedRegistry(script);
  const { registries, pauses } = createPatientRegistries({
    kinds: { [registry.host]: kind },
    tokenCredential: async () => ({ getToken: async () => ({ token: "entra", expiresOnTimestamp: 4e12 }) }),
    ...options,
  });
  open.push({ registry, registries });
  return { repository: registries.open(registry.host, "team/app"), registry, pauses };
}

/** Where a Range request starts; 0 without one. */
const rangeStart = (range: string | undefined): number => Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);

describe.each(["oci", "acr"] as const)("the %s adapter reading blobs", (kind) => {
  const read = (repository: Repository): Promise<Buffer> => collect(repository.readBlob(blob));

  test("refuses corrupt content of the right size, and lives on", async () => {
    const corrupt = Buffer.from(content);
    corrupt.writeUInt8(corrupt.readUInt8(MIB) ^ 1, MIB);
    const { repository, registry } = await start(kind, (_, response) => response.end(corrupt));
    const error = await failureOf(read(repository));
    expect(error).toMatchObject({ code: "DIGEST_MISMATCH", want: blob.digest, retryable: false });
    expect(registry.seen).toHaveLength(1);
  });

  test.each([
    ["announced", true],
    ["unannounced", false],
  ])("refuses an %s shorter body without asking again", async (_, announced) => {
    const { repository, registry } = await start(kind, (_, response) => {
      if (announced) response.setHeader("content-length", content.length - 1);
      else response.flushHeaders();
      response.end(content.subarray(0, content.length - 1));
    });
    expect((await failureOf(read(repository))).code).toBe("SIZE_MISMATCH");
    expect(registry.seen).toHaveLength(1);
  });

  test("stops reading a body that is too long", async () => {
    const { repository, registry } = await start(kind, (_, response) => {
      const pump = (): void => {
        while (!response.destroyed && response.write(content));
      };
      response.on("drain", pump);
      pump();
    });
    expect((await failureOf(read(repository))).code).toBe("SIZE_MISMATCH");
    await registry.idle();
  });

  test("resumes a cut download by ranges and receives each byte once", async () => {
    let sent = 0;
    const { repository, registry, pauses } = await start(kind, ({ headers, nth }, response) => {
      const from = rangeStart(headers.range);
      const part = content.subarray(from, nth < 4 ? from + 500_000 : undefined);
      response.writeHead(from === 0 ? 200 : 206, {
        "content-length": content.length - from,
        ...(from === 0 ? {} : { "content-range": `bytes ${from}-${content.length - 1}/${content.length}` }),
      });
      sent += part.length;
      response.write(part, () => (nth < 4 ? response.destroy() : response.end()));
    });
    expect((await read(repository)).equals(content)).toBe(true);
    expect(registry.seen).toHaveLength(4);
    expect(registry.seen[0]?.headers.range).toBeUndefined();
    expect(sent).toBeLessThan(content.length + 1_500_000);
    expect(pauses).toHaveLength(3);
  });

  test("resumes over storage that ignores ranges", async () => {
    const { repository, registry } = await start(kind, ({ nth }, response) => {
      response.writeHead(200, { "content-length": content.length });
      response.write(nth < 3 ? content.subarray(0, nth * 700_000) : content, () =>
        nth < 3 ? response.destroy() : response.end(),
      );
    });
    expect((await read(repository)).equals(content)).toBe(true);
    expect(registry.seen).toHaveLength(3);
  });

  test("refuses a range that starts elsewhere", async () => {
    const { repository } = await start(kind, ({ nth }, response) => {
      if (nth === 1) {
        response.writeHead(200, { "content-length": content.length });
        response.write(content.subarray(0, 100_000), () => response.destroy());
        return;
      }
      response.writeHead(206, { "content-range": `bytes 5-${content.length - 1}/${content.length}` });
      response.end(content.subarray(5));
    });
    expect((await failureOf(read(repository))).code).toBe("UNEXPECTED_RESPONSE");
  });

  test("gives up after five cuts without progress, saying how far it came", async () => {
    const { repository, registry, pauses } = await start(kind, ({ headers }, response) => {
      const from = rangeStart(headers.range);
      response.writeHead(from === 0 ? 200 : 206, {
        "content-length": content.length - from,
        "content-range": `bytes ${from}-${content.length - 1}/${content.length}`,
      });
      response.write(content.subarray(from, from === 0 ? 1_000 : from), () => response.socket?.resetAndDestroy());
    });
    const error = await failureOf(read(repository));
    expect(error).toMatchObject({ code: "UNREACHABLE", retryable: true, want: `${content.length} bytes` });
    expect(error.got).toMatch(/after (1000|0) bytes$/);
    expect(error.cause).toBeInstanceOf(Error);
    expect(registry.seen).toHaveLength(5);
    expect(pauses).toEqual([375, 750, 1_500, 3_000]);
  });

  test("waits as long as a 429 asks, in seconds or until a date", async () => {
    const now = Date.parse("2026-11-20T10:00:00Z");
    const { repository, pauses } = await start(
      kind,
      ({ nth }, response) => {
        if (nth === 1) response.writeHead(429, { "retry-after": "7" }).end();
        else if (nth === 2) response.writeHead(429, { "retry-after": "Fri, 20 Nov 2026 10:00:09 GMT" }).end();
        else if (nth === 3) response.writeHead(429, { "retry-after": "86400" }).end();
        else response.end(content);
      },
      { retry: { now: () => now } },
    );
    expect(await read(repository)).toHaveLength(content.length);
    expect(pauses).toEqual([7_000, 9_000, 60_000]);
  });

  test("gives up on a 429 that never ends with TOO_MANY_REQUESTS, to be retried later", async () => {
    const { repository, registry } = await start(kind, (_, response) => response.writeHead(429).end());
    expect(await failureOf(read(repository))).toMatchObject({ code: "TOO_MANY_REQUESTS", retryable: true });
    expect(registry.seen).toHaveLength(5);
  });

  test("outlasts 503s and 502s, but not for ever", async () => {
    const shaky = await start(kind, ({ nth }, response) => {
      if (nth < 4) response.writeHead(nth === 1 ? 502 : 503).end("<html>bad gateway</html>");
      else response.end(content);
    });
    expect(await read(shaky.repository)).toHaveLength(content.length);
    const dead = await start(kind, (_, response) => response.writeHead(503).end("<html>no  backend</html>"));
    expect(await failureOf(read(dead.repository))).toMatchObject({
      code: "UNREACHABLE",
      retryable: true,
      got: "status 503 (<html>no backend</html>)",
    });
  });

  test("fails a registry that never answers", async () => {
    const { repository, registry } = await start(kind, () => {}, { idleTimeoutMs: 400, retry: { attempts: 2 } });
    expect(await failureOf(read(repository))).toMatchObject({ code: "UNREACHABLE", got: "no bytes for 400 ms" });
    expect(registry.seen).toHaveLength(2);
    await registry.idle();
  });

  test("resumes when a registry falls silent in the middle", async () => {
    const { repository, registry } = await start(
      kind,
      ({ nth }, response) => {
        response.writeHead(200, { "content-length": content.length });
        if (nth === 1) response.write(content.subarray(0, 900_000));
        else response.end(content);
      },
      { idleTimeoutMs: 400 },
    );
    expect((await read(repository)).equals(content)).toBe(true);
    expect(registry.seen).toHaveLength(2);
  });

  test("fails a registry that is down, with the cause", async () => {
    const { repository, registry, pauses } = await start(kind, () => {});
    await registry.close();
    const error = await failureOf(read(repository));
    expect(error).toMatchObject({ code: "UNREACHABLE", retryable: true });
    expect(error.message).toContain("ECONNREFUSED");
    expect(pauses).toHaveLength(4);
  });

  test("ending early closes the connection", async () => {
    const { repository, registry } = await start(kind, (_, response) => {
      response.writeHead(200, { "content-length": content.length });
      response.write(content.subarray(0, 1_000));
    });
    for await (const part of repository.readBlob(blob)) {
      expect(part.length).toBeGreaterThan(0);
      break;
    }
    await registry.idle();
  });

  test("gives up on redirects in a circle", async () => {
    const { repository } = await start(kind, ({ path }, response) =>
      response.writeHead(307, { location: `${path}?again` }).end(),
    );
    expect((await failureOf(read(repository))).code).toBe("UNEXPECTED_RESPONSE");
  });

  test("does not wait for the end of what it does not want to read", async () => {
    const { repository, registry } = await start(kind, ({ nth }, response) => {
      if (nth > 1) response.end(content);
      else {
        response.writeHead(307, { location: "?again", "content-length": 64 * MIB });
        response.write(content.subarray(0, 1_000));
      }
    });
    expect(await read(repository)).toHaveLength(content.length);
    expect(registry.seen).toHaveLength(2);
  });

  test("does not follow a redirect to plain http elsewhere", async () => {
    const { repository } = await start(kind, (_, response) =>
      response.writeHead(307, { location: "http://storage.example.com/blob" }).end(),
    );
    const error = await failureOf(read(repository));
    expect(error).toMatchObject({ code: "UNEXPECTED_RESPONSE", got: "redirect to http://storage.example.com" });
  });
});

describe.each(["oci", "acr"] as const)("the %s adapter reading manifests", (kind) => {
  const answer =
    (bytes: Uint8Array, headers: Record<string, string> = {}): Script =>
    (_, response) => {
      response.writeHead(200, {
        "content-type": manifest.mediaType,
        "docker-content-digest": describeBytes(bytes).digest,
        ...headers,
      });
      response.end(bytes);
    };

  test("returns it with media type and digest", async () => {
    const { repository } = await start(kind, answer(manifest.bytes));
    expect(await repository.getManifest("v1")).toMatchObject({ mediaType: manifest.mediaType, digest: manifestDigest });
  });

  test("refuses what is not JSON", async () => {
    const { repository } = await start(kind, answer(Buffer.from("<html>hello</html>")));
    const error = await failureOf(repository.getManifest("v1"));
    expect(error).toMatchObject({ code: "UNEXPECTED_RESPONSE", got: "a manifest that is not JSON", retryable: false });
  });

  test("refuses another manifest than the digest asked for", async () => {
    const { repository } = await start(kind, answer(manifest.bytes));
    const { digest } = describeBytes(Buffer.from("another"));
    expect((await failureOf(repository.getManifest(digest))).code).toBe("DIGEST_MISMATCH");
  });

  test("refuses a digest header that is not the content's", async () => {
    const other = describeBytes(Buffer.from("another")).digest;
    const { repository } = await start(kind, answer(manifest.bytes, { "docker-content-digest": other }));
    expect((await failureOf(repository.getManifest("v1"))).code).toBe("DIGEST_MISMATCH");
  });

  test.each([
    ["announced", true],
    ["unannounced", false],
  ])("refuses an %s size above four MiB and stops reading", async (_, announced) => {
    const { repository, registry } = await start(kind, (_, response) => {
      response.writeHead(200, {
        "content-type": manifest.mediaType,
        "docker-content-digest": manifestDigest,
        ...(announced ? { "content-length": String(64 * MIB) } : {}),
      });
      const pump = (): void => {
        while (!response.destroyed && response.write(content));
      };
      response.on("drain", pump);
      pump();
    });
    expect((await failureOf(repository.getManifest("v1"))).code).toBe("MANIFEST_TOO_LARGE");
    await registry.idle();
  });

  test("asks again when the body breaks off", async () => {
    const { repository, registry } = await start(kind, (request, response) => {
      if (request.nth > 1) return answer(manifest.bytes)(request, response);
      response.writeHead(200, { "content-type": manifest.mediaType, "content-length": manifest.bytes.length });
      response.write(manifest.bytes.subarray(0, 10), () => response.destroy());
    });
    expect((await repository.getManifest("v1")).digest).toBe(manifestDigest);
    expect(registry.seen).toHaveLength(2);
  });

  test.each([
    [404, "MANIFEST_UNKNOWN"],
    [403, "DENIED"],
    [401, "UNAUTHORIZED"],
    [400, "UNEXPECTED_RESPONSE"],
  ])("maps a %i without JSON to %s", async (status, code) => {
    const { repository, registry } = await start(kind, (_, response) => response.writeHead(status).end("<b>no</b>"));
    expect((await failureOf(repository.getManifest("v1"))).code).toBe(code);
    expect(registry.seen).toHaveLength(1);
  });

  test("names the spec's error code and message", async () => {
    const body = JSON.stringify({ errors: [{ code: "NAME_UNKNOWN", message: "repository not known" }] });
    const { repository } = await start(kind, (_, response) => response.writeHead(404).end(body));
    const error = await failureOf(repository.getManifest("v1"));
    expect(error).toMatchObject({ code: "NAME_UNKNOWN", got: "status 404 (NAME_UNKNOWN repository not known)" });
  });
});

test("the oci adapter computes the digest where the registry names none", async () => {
  const { repository } = await start("oci", (_, response) => response.end(manifest.bytes));
  expect(await repository.getManifest("v1")).toMatchObject({ digest: manifestDigest, mediaType: manifest.mediaType });
});

test("pages of tags are followed, by relative and absolute links, but not in a circle", async () => {
  const pages: Record<string, string[]> = { "": ["a", "b"], b: ["c", "d"], d: ["e"] };
  const { repository, registry } = await start("oci", ({ query, path, headers }, response) => {
    const last = query.get("last") ?? "";
    if (last === "") response.setHeader("link", `<${path}?n=2&last=b>; rel="next"`);
    if (last === "b") response.setHeader("link", `<http://${headers.host}${path}?last=d&n=2>; rel=next`);
    response.end(JSON.stringify({ name: "team/app", tags: pages[last] }));
  });
  const tags: string[] = [];
  for await (const tag of repository.listTags()) tags.push(tag);
  expect(tags).toEqual(["a", "b", "c", "d", "e"]);
  expect(registry.seen).toHaveLength(3);

  const circle = await start("oci", ({ path }, response) => {
    response.setHeader("link", `<${path}?n=1000>; rel="next"`).end('{"tags":["a"]}');
  });
  const listing = circle.repository.listTags()[Symbol.asyncIterator]();
  await listing.next();
  expect((await failureOf(listing.next())).code).toBe("UNEXPECTED_RESPONSE");
});

test("no tags, null or an empty list, are no error; a page that is no list is", async () => {
  for (const body of ['{"tags":null}', '{"tags":[]}']) {
    const { repository } = await start("oci", (_, response) => response.end(body));
    expect(await repository.listTags()[Symbol.asyncIterator]().next()).toMatchObject({ done: true });
  }
  const { repository } = await start("oci", (_, response) => response.end("<html>"));
  expect((await failureOf(repository.listTags()[Symbol.asyncIterator]().next())).code).toBe("UNEXPECTED_RESPONSE");
});
