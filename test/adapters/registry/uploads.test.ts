// How uploads survive registries that answer oddly, break off or take no chunks.
import type { ServerResponse } from "node:http";
import { afterEach, describe, expect, test } from "vitest";
import type { ClosableRegistries } from "../../../src/adapters/registry/index.ts";
import { locationOf } from "../../../src/adapters/registry/upload.ts";
import type { Repository } from "../../../src/ports/registry.ts";
import {
  type Script,
  type ScriptedRegistry,
  type SeenRequest,
  startScriptedRegistry,
} from "../../support/scripted-registry.ts";
import { seededBytes } from "../../support/seeded-bytes.ts";
import { createPatientRegistries, describeBytes, failureOf, inParts, manifestOf } from "./fixtures.ts";

const MIB = 1024 * 1024;
const CHUNK = 4 * MIB;
const small = seededBytes("small upload", 10_000);
const large = seededBytes("large upload", 9 * MIB);
const UPLOADS = "/v2/team/app/blobs/uploads/";

let open: { registry: ScriptedRegistry; registries: ClosableRegistries }[] = [];
afterEach(async () => {
  for (const { registry, registries } of open) {
    await registries.close();
    await registry.close();
  }
  open = [];
});

async function start(
  kind: "oci" | "acr",
  script: Script,
): Promise<{ repository: Repository; registry: ScriptedRegistry; pauses: number[] }> {
  const registry = await startScriptedRegistry(script);
  const { registries, pauses } = createPatientRegistries({
    kinds: { [registry.host]: kind },
    tokenCredential: async () => ({ getToken: async () => ({ token: "entra", expiresOnTimestamp: 4e12 }) }),
  });
  open.push({ registry, registries });
  return { repository: registries.open(registry.host, "team/app"), registry, pauses };
}

/** A registry that takes one upload as the spec says, except where `instead` answers. */
function takeUpload(instead: (request: SeenRequest, response: ServerResponse) => boolean): {
  script: Script;
  received: () => Buffer;
  stored: () => string | undefined;
} {
  let received = Buffer.alloc(0);
  let stored: string | undefined;
  const script: Script = (request, response) => {
    const { method, body, headers, query } = request;
    const location = (absolute: boolean): string =>
      `${absolute ? `http://${headers.host}` : ""}/upload/1?_state=${received.length}&tricky=a%2Fb`;
    if (instead(request, response)) return;
    if (method === "HEAD") response.writeHead(404).end();
    else if (method === "POST") response.writeHead(202, { location: location(true) }).end();
    else if (method === "PATCH") {
      received = Buffer.concat([received, body]);
      response.writeHead(202, { location: location(false), range: `0-${received.length - 1}` }).end();
    } else if (method === "PUT") {
      received = Buffer.concat([received, body]);
      stored = query.get("digest") ?? undefined;
      response.writeHead(201, { "docker-content-digest": stored }).end();
    } else response.writeHead(204).end();
  };
  return { script, received: () => received, stored: () => stored };
}

const methods = ({ seen }: ScriptedRegistry): string => seen.map(({ method }) => method).join(" ");

describe.each(["oci", "acr"] as const)("the %s adapter writing blobs", (kind) => {
  test("follows absolute and relative locations and keeps their queries", async () => {
    const { script, received, stored } = takeUpload(() => false);
    const { repository, registry } = await start(kind, script);
    await repository.writeBlob(describeBytes(large), inParts(large, 1_000_000));
    expect(received().equals(large)).toBe(true);
    expect(stored()).toBe(describeBytes(large).digest);
    expect(methods(registry)).toBe("HEAD POST PATCH PATCH PATCH PUT");
    expect(registry.seen[5]?.query.get("_state")).toBe(String(large.length));
    expect(registry.seen[5]?.query.get("tricky")).toBe("a/b");
  });

  test("repeats what fails for a moment", async () => {
    const { script, received } = takeUpload(({ method, nth }, response) => {
      if (nth > 1 || method === "PUT") return false;
      response.writeHead(503).end("<html>later</html>");
      return true;
    });
    const { repository } = await start(kind, script);
    await repository.writeBlob(describeBytes(large), inParts(large, 1_000_000));
    expect(received().equals(large)).toBe(true);
  });

  test.each(["POST", "PATCH", "PUT"])("starts a small upload again when its %s breaks off or fails", async (broken) => {
    for (const how of ["reset", "status"]) {
      const { script, stored } = takeUpload(({ method, nth, body }, response) => {
        // An adapter that sends no PATCH for small uploads is broken off at its PUT.
        if (nth > 1 || (method !== broken && !(broken === "PATCH" && method === "PUT" && body.length > 0)))
          return false;
        if (how === "reset") response.socket?.resetAndDestroy();
        else response.writeHead(502).end();
        return true;
      });
      const { repository, pauses } = await start(kind, script);
      await repository.writeBlob(describeBytes(small), inParts(small, 3_000));
      expect(stored()).toBe(describeBytes(small).digest);
      expect(pauses).toHaveLength(1);
    }
  });

  test("refuses to believe a registry that stored something else", async () => {
    const other = describeBytes(Buffer.from("other")).digest;
    const { script } = takeUpload(({ method }, response) => {
      if (method !== "PUT") return false;
      response.writeHead(201, { "docker-content-digest": other }).end();
      return true;
    });
    const { repository } = await start(kind, script);
    expect((await failureOf(repository.writeBlob(describeBytes(small), small))).code).toBe("DIGEST_MISMATCH");
  });

  test("an upload without an address is an unexpected response", async () => {
    const { script } = takeUpload(({ method }, response) => {
      if (method !== "POST") return false;
      response.writeHead(202).end();
      return true;
    });
    const { repository } = await start(kind, script);
    expect((await failureOf(repository.writeBlob(describeBytes(small), small))).code).toBe("UNEXPECTED_RESPONSE");
  });

  test.each([
    [403, "DENIED"],
    [401, "UNAUTHORIZED"],
    [503, "UNREACHABLE"],
  ])("a %i when an upload starts is %s", async (status, code) => {
    const { script } = takeUpload(({ method }, response) => {
      if (method !== "POST") return false;
      response.writeHead(status).end();
      return true;
    });
    const { repository } = await start(kind, script);
    expect((await failureOf(repository.writeBlob(describeBytes(small), small))).code).toBe(code);
  });

  test("a manifest is sent again after a 500, and refused with the registry's reason after a 400", async () => {
    const manifest = manifestOf(describeBytes(small), []);
    const { digest } = describeBytes(manifest.bytes);
    const shaky = await start(kind, ({ nth }, response) => {
      response.writeHead(nth === 1 ? 500 : 201, { "docker-content-digest": digest }).end();
    });
    expect(await shaky.repository.putManifest("v1", manifest)).toBe(digest);
    expect(shaky.registry.seen[1]?.body.equals(manifest.bytes)).toBe(true);
    const body = JSON.stringify({ errors: [{ code: "MANIFEST_BLOB_UNKNOWN", message: "blob unknown to registry" }] });
    const strict = await start(kind, (_, response) => response.writeHead(400).end(body));
    const error = await failureOf(strict.repository.putManifest("v1", manifest));
    expect(error.code).toBe("UNEXPECTED_RESPONSE");
    expect(error.got).toBe("status 400 (MANIFEST_BLOB_UNKNOWN blob unknown to registry)");
  });
});

describe("the oci adapter writing blobs", () => {
  test("sends what fits in memory in one request, and again as a whole after a failure", async () => {
    const { script, stored } = takeUpload(({ method, nth }, response) => {
      if (method !== "PUT" || nth > 1) return false;
      response.socket?.resetAndDestroy();
      return true;
    });
    const { repository, registry } = await start("oci", script);
    await repository.writeBlob(describeBytes(small), inParts(small, 3_000));
    expect(methods(registry)).toBe("HEAD POST PUT DELETE HEAD POST PUT");
    expect(registry.seen.at(-1)?.body.equals(small)).toBe(true);
    expect(stored()).toBe(describeBytes(small).digest);
  });

  test("believes a registry that kept the blob although its answer was lost", async () => {
    const { script } = takeUpload(({ method, nth }, response) => {
      if (method === "PUT") response.socket?.resetAndDestroy();
      else if (method === "HEAD" && nth > 1) response.writeHead(200).end();
      else return false;
      return true;
    });
    const { repository, registry } = await start("oci", script);
    await repository.writeBlob(describeBytes(small), small);
    expect(methods(registry)).toBe("HEAD POST PUT DELETE HEAD");
  });

  test("resumes a chunk that broke off where the registry says it is", async () => {
    let received = Buffer.alloc(0);
    const { script } = takeUpload(({ method, body, nth }, response) => {
      if (method === "GET") response.writeHead(204, { range: `0-${received.length - 1}` }).end();
      else if (method === "PATCH" && nth === 2) {
        // Of the second chunk one MiB arrives, then the connection is lost.
        received = Buffer.concat([received, body.subarray(0, MIB)]);
        response.socket?.resetAndDestroy();
      } else {
        received = Buffer.concat([received, body]);
        return false;
      }
      return true;
    });
    const { repository, registry } = await start("oci", script);
    await repository.writeBlob(describeBytes(large), inParts(large, 1_000_000));
    expect(received.equals(large)).toBe(true);
    expect(methods(registry)).toBe("HEAD POST PATCH PATCH GET PATCH PATCH PUT");
    const ranges = registry.seen
      .filter(({ method }) => method === "PATCH")
      .map(({ headers }) => headers["content-range"]);
    expect(ranges).toEqual([
      `0-${CHUNK - 1}`,
      `${CHUNK}-${2 * CHUNK - 1}`,
      `${CHUNK + MIB}-${2 * CHUNK - 1}`,
      `${2 * CHUNK}-${large.length - 1}`,
    ]);
  });

  test("sends a large stream in one request to a registry that takes no chunks", async () => {
    const { script, received } = takeUpload(({ method }, response) => {
      if (method !== "PATCH") return false;
      response.writeHead(405).end();
      return true;
    });
    const { repository, registry } = await start("oci", script);
    await repository.writeBlob(describeBytes(large), inParts(large, 1_000_000));
    expect(received().equals(large)).toBe(true);
    expect(methods(registry)).toBe("HEAD POST PATCH PUT");
    expect(registry.seen[3]?.headers["content-length"]).toBe(String(large.length));
  });

  test("cancels the upload when the content turns out wrong", async () => {
    const { script, stored } = takeUpload(() => false);
    const { repository, registry } = await start("oci", script);
    const described = describeBytes(large);
    const error = await failureOf(repository.writeBlob(described, inParts(Buffer.alloc(large.length), 1_000_000)));
    expect(error.code).toBe("DIGEST_MISMATCH");
    expect(stored()).toBeUndefined();
    expect(registry.seen.at(-1)?.method).toBe("DELETE");
    expect(registry.seen.filter(({ method }) => method === "PATCH").every(({ body }) => body.length <= CHUNK)).toBe(
      true,
    );
  });

  test("a mount that opens an upload instead is a no, and the upload is given up", async () => {
    const { digest } = describeBytes(small);
    const { repository, registry } = await start("oci", ({ method }, response) => {
      if (method === "POST") response.writeHead(202, { location: `${UPLOADS}7` }).end();
      else response.writeHead(204).end();
    });
    expect(await repository.mountBlob(digest, "team/source")).toBe(false);
    expect(registry.seen[0]?.query.get("from")).toBe("team/source");
    expect(registry.seen[1]).toMatchObject({ method: "DELETE", path: `${UPLOADS}7` });
  });

  test("an upload's address keeps the registry's own scheme behind a TLS proxy, and never leaves for plain http", () => {
    const operation = { operation: "write blob", subject: "a/b@c", notFound: "NAME_UNKNOWN" } as const;
    const base = new URL("https://registry.example.com");
    const locate = (location: string | undefined): string => {
      const headers = location === undefined ? {} : { location };
      const url = new URL("/v2/a/blobs/uploads/", base);
      const response = { status: 202, headers, url, readBody: () => inParts(small, 1), discard: async () => {} };
      return locationOf(operation, response, base).href;
    };
    expect(locate("http://registry.example.com/up/1?s=2")).toBe("https://registry.example.com/up/1?s=2");
    expect(locate("https://uploads.example.com/up/1")).toBe("https://uploads.example.com/up/1");
    expect(locate("/up/1")).toBe("https://registry.example.com/up/1");
    expect(() => locate("http://uploads.example.com/up/1")).toThrow("Location at http://uploads.example.com");
    expect(() => locate("http://[")).toThrow("Location http://[");
    expect(() => locate(undefined)).toThrow("Location none");
  });

  test.each([403, 404, 405])("a mount refused with %i is a no, not an error", async (status) => {
    const { repository } = await start("oci", (_, response) => response.writeHead(status).end());
    expect(await repository.mountBlob(describeBytes(small).digest, "team/source")).toBe(false);
  });
});
