// Blobs and uploads of the embedded registry, request by request, as the OCI distribution spec words them.
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { digestOf, errorCodes, pushBlob, seededBytes, startRegistry, temporaryFolder } from "./support.ts";

const bytes = seededBytes(1, 100_000);
const digest = digestOf(bytes);
const UNKNOWN = digestOf(Buffer.from("nobody pushed this"));

async function startUpload(url: string, name = "team/app"): Promise<string> {
  const response = await fetch(`${url}/v2/${name}/blobs/uploads/`, { method: "POST" });
  expect(response.status).toBe(202);
  expect(response.headers.get("docker-upload-uuid")).toBeTruthy();
  expect(response.headers.get("range")).toBe("0-0");
  const location = response.headers.get("location") ?? "";
  expect(location.startsWith(`/v2/${name}/blobs/uploads/`)).toBe(true);
  return url + location;
}

async function readBlob(url: string, name: string, of: string, headers = {}): Promise<Response> {
  return await fetch(`${url}/v2/${name}/blobs/${of}`, { headers });
}

describe("uploading a blob", () => {
  test("in one POST, and then reading it by GET and HEAD", async () => {
    const { url } = await startRegistry();
    await pushBlob(url, "team/app", bytes);
    const response = await readBlob(url, "team/app", digest);
    expect(response.status).toBe(200);
    expect(response.headers.get("docker-content-digest")).toBe(digest);
    expect(response.headers.get("content-length")).toBe("100000");
    expect(response.headers.get("content-type")).toBe("application/octet-stream");
    expect(response.headers.get("docker-distribution-api-version")).toBe("registry/2.0");
    expect(Buffer.from(await response.arrayBuffer()).equals(bytes)).toBe(true);
    const head = await fetch(`${url}/v2/team/app/blobs/${digest}`, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length"), await head.text()]).toEqual([200, "100000", ""]);
  });

  test("by POST then PUT", async () => {
    const { url } = await startRegistry();
    const location = await startUpload(url);
    const response = await fetch(`${location}?digest=${digest}`, { method: "PUT", body: bytes });
    expect(response.status).toBe(201);
    expect(response.headers.get("location")).toBe(`/v2/team/app/blobs/${digest}`);
    expect(response.headers.get("docker-content-digest")).toBe(digest);
    expect((await readBlob(url, "team/app", digest)).status).toBe(200);
  });

  test("in chunks with Content-Range, the last one in the PUT", async () => {
    const { url } = await startRegistry();
    const location = await startUpload(url);
    const send = (method: string, from: number, to: number, query = ""): Promise<Response> =>
      fetch(location + query, {
        method,
        body: bytes.subarray(from, to),
        headers: { "Content-Range": `${from}-${to - 1}` },
      });
    const first = await send("PATCH", 0, 40_000);
    expect([first.status, first.headers.get("range")]).toEqual([202, "0-39999"]);
    const second = await send("PATCH", 40_000, 70_000);
    expect([second.status, second.headers.get("range")]).toEqual([202, "0-69999"]);
    expect((await send("PUT", 70_000, 100_000, `?digest=${digest}`)).status).toBe(201);
    expect(Buffer.from(await (await readBlob(url, "team/app", digest)).arrayBuffer()).equals(bytes)).toBe(true);
  });

  test("in chunks without Content-Range, and finishing without a body", async () => {
    const { url } = await startRegistry();
    const location = await startUpload(url);
    await fetch(location, { method: "PATCH", body: bytes.subarray(0, 1) });
    await fetch(location, { method: "PATCH", body: bytes.subarray(1) });
    expect((await fetch(`${location}?digest=${digest}`, { method: "PUT" })).status).toBe(201);
  });

  test("a chunk out of order is refused with 416 and told where to go on", async () => {
    const { url } = await startRegistry();
    const location = await startUpload(url);
    await fetch(location, { method: "PATCH", body: bytes.subarray(0, 10) });
    const headers = { "Content-Range": "20-29" };
    const response = await fetch(location, { method: "PATCH", body: bytes.subarray(20, 30), headers });
    expect([response.status, response.headers.get("range")]).toEqual([416, "0-9"]);
    expect(response.headers.get("location")).toBe(location.slice(url.length));
    expect(await errorCodes(response)).toEqual(["RANGE_INVALID"]);
  });

  test("a Content-Range that lies about its length, or is not one, is refused and appends nothing", async () => {
    const { url } = await startRegistry();
    const location = await startUpload(url);
    for (const [range, code] of [
      ["0-98", "SIZE_INVALID"],
      ["zero", "BLOB_UPLOAD_INVALID"],
    ]) {
      const headers = { "Content-Range": range ?? "" };
      const response = await fetch(location, { method: "PATCH", body: bytes.subarray(0, 10), headers });
      expect([response.status, await errorCodes(response)]).toEqual([400, [code]]);
    }
    expect((await fetch(location)).headers.get("range")).toBe("0-0");
  });

  test("the status tells how much arrived; cancelling forgets the upload", async () => {
    const { url } = await startRegistry();
    const location = await startUpload(url);
    await fetch(location, { method: "PATCH", body: bytes.subarray(0, 1234) });
    const status = await fetch(location);
    expect([status.status, status.headers.get("range")]).toEqual([204, "0-1233"]);
    expect((await fetch(location, { method: "DELETE" })).status).toBe(204);
    const gone = await fetch(location);
    expect([gone.status, await errorCodes(gone)]).toEqual([404, ["BLOB_UPLOAD_UNKNOWN"]]);
  });

  test("an upload belongs to its repository", async () => {
    const { url } = await startRegistry();
    const location = await startUpload(url);
    const other = await fetch(location.replace("team/app", "team/other"));
    expect([other.status, await errorCodes(other)]).toEqual([404, ["BLOB_UPLOAD_UNKNOWN"]]);
  });

  test("content that is not what the digest says is refused and not kept", async () => {
    const folder = await temporaryFolder();
    const { url } = await startRegistry({ folder });
    const location = await startUpload(url);
    const wrong = await fetch(`${location}?digest=${UNKNOWN}`, { method: "PUT", body: bytes });
    expect([wrong.status, await errorCodes(wrong)]).toEqual([400, ["DIGEST_INVALID"]]);
    expect((await readBlob(url, "team/app", UNKNOWN)).status).toBe(404);
    expect((await readBlob(url, "team/app", digest)).status).toBe(404);
    expect(await readdir(join(folder, "uploads"))).toEqual([]);
  });

  test("a digest that is none is refused", async () => {
    const { url } = await startRegistry();
    for (const bad of ["sha256:12", "md5:00", "", `sha256:${"A".repeat(64)}`]) {
      const location = await startUpload(url);
      const response = await fetch(`${location}?digest=${bad}`, { method: "PUT", body: bytes });
      expect([response.status, await errorCodes(response)]).toEqual([400, ["DIGEST_INVALID"]]);
    }
  });

  test("sha512 works as sha256 does", async () => {
    const { url } = await startRegistry();
    const long = digestOf(bytes, "sha512");
    const response = await fetch(`${url}/v2/team/app/blobs/uploads/?digest=${long}`, { method: "POST", body: bytes });
    expect([response.status, response.headers.get("docker-content-digest")]).toEqual([201, long]);
    expect(digestOf(new Uint8Array(await (await readBlob(url, "team/app", long)).arrayBuffer()), "sha512")).toBe(long);
  });

  test("an empty blob can be stored and read", async () => {
    const { url } = await startRegistry();
    const empty = await pushBlob(url, "team/app", new Uint8Array());
    const response = await readBlob(url, "team/app", empty);
    expect([response.status, response.headers.get("content-length"), await response.text()]).toEqual([200, "0", ""]);
  });

  test("twenty clients that upload the same blob at once all succeed and leave one file", async () => {
    const folder = await temporaryFolder();
    const { url } = await startRegistry({ folder });
    const big = seededBytes(2, 3_000_000);
    const one = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const location = await startUpload(url, `team/app-${index % 4}`);
        const half = await fetch(location, { method: "PATCH", body: big.subarray(0, 1_500_000) });
        expect(half.status).toBe(202);
        const rest = big.subarray(1_500_000);
        return (await fetch(`${location}?digest=${digestOf(big)}`, { method: "PUT", body: rest })).status;
      }),
    );
    expect(one).toEqual(Array.from({ length: 20 }, () => 201));
    const files = await readdir(join(folder, "blobs"), { recursive: true, withFileTypes: true });
    expect(files.filter((entry) => entry.isFile()).map(({ name }) => `sha256:${name}`)).toEqual([digestOf(big)]);
    expect(await readdir(join(folder, "uploads"))).toEqual([]);
  });

  test("two requests cannot write to one upload at the same time", async () => {
    const { url } = await startRegistry();
    const location = await startUpload(url);
    const release = Promise.withResolvers<void>();
    async function* slowly(): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, 10);
      await release.promise;
      yield bytes.subarray(10);
    }
    const slow = fetch(location, { method: "PATCH", body: ReadableStream.from(slowly()), duplex: "half" });
    await expect.poll(async () => (await fetch(location)).headers.get("range")).toBe("0-9");
    const meanwhile = await fetch(location, { method: "PATCH", body: bytes });
    expect([meanwhile.status, await errorCodes(meanwhile)]).toEqual([409, ["BLOB_UPLOAD_INVALID"]]);
    release.resolve();
    expect((await slow).status).toBe(202);
    expect((await fetch(`${location}?digest=${digest}`, { method: "PUT" })).status).toBe(201);
  });
});

describe("reading a blob", () => {
  test.each([
    ["bytes=0-0", 0, 0],
    ["bytes=10-19", 10, 19],
    ["bytes=99990-", 99_990, 99_999],
    ["bytes=99990-200000", 99_990, 99_999],
    ["bytes=-7", 99_993, 99_999],
    ["bytes=-200000", 0, 99_999],
  ])("%s is answered with 206", async (range, start, end) => {
    const { url } = await startRegistry();
    await pushBlob(url, "team/app", bytes);
    const response = await readBlob(url, "team/app", digest, { Range: range });
    expect(response.status).toBe(206);
    expect(response.headers.get("content-range")).toBe(`bytes ${start}-${end}/100000`);
    expect(Buffer.from(await response.arrayBuffer()).equals(bytes.subarray(start, end + 1))).toBe(true);
  });

  test.each(["bytes=100000-", "bytes=-0"])("%s lies outside and is answered with 416", async (range) => {
    const { url } = await startRegistry();
    await pushBlob(url, "team/app", bytes);
    const response = await readBlob(url, "team/app", digest, { Range: range });
    expect([response.status, response.headers.get("content-range")]).toEqual([416, "bytes */100000"]);
    expect(await errorCodes(response)).toEqual(["RANGE_INVALID"]);
  });

  test.each(["bytes=0-1,4-5", "lines=1-2", "bytes=9-3"])("%s is not served as a range", async (range) => {
    const { url } = await startRegistry();
    await pushBlob(url, "team/app", bytes);
    const response = await readBlob(url, "team/app", digest, { Range: range });
    expect(response.status).toBe(200);
    await response.body?.cancel();
  });

  test("a repository sees only what it holds", async () => {
    const { url } = await startRegistry();
    await pushBlob(url, "team/app", bytes);
    const response = await readBlob(url, "team/other", digest);
    expect([response.status, await errorCodes(response)]).toEqual([404, ["BLOB_UNKNOWN"]]);
  });
});

test("content that somebody took from the disk is answered with 500 in the error form, and the registry lives on", async () => {
  const folder = await temporaryFolder();
  const { url } = await startRegistry({ folder });
  await pushBlob(url, "team/app", bytes);
  await rm(join(folder, "blobs"), { recursive: true });
  const lost = await readBlob(url, "team/app", digest);
  expect([lost.status, await errorCodes(lost)]).toEqual([500, ["UNKNOWN"]]);
  expect((await fetch(`${url}/v2/`)).status).toBe(200);
});

describe("mounting and deleting", () => {
  const mount = (url: string, query: string): Promise<Response> =>
    fetch(`${url}/v2/team/other/blobs/uploads/?${query}`, { method: "POST" });

  test("a blob of another repository is mounted without being sent", async () => {
    const { url } = await startRegistry();
    await pushBlob(url, "team/app", bytes);
    const response = await mount(url, `mount=${digest}&from=team/app`);
    expect([response.status, response.headers.get("location")]).toEqual([201, `/v2/team/other/blobs/${digest}`]);
    expect((await readBlob(url, "team/other", digest)).status).toBe(200);
  });

  test.each([`mount=${UNKNOWN}&from=team/app`, `mount=${digest}&from=team/none`, `mount=${digest}`, "mount=x&from=y"])(
    "%s starts an upload instead",
    async (query) => {
      const { url } = await startRegistry();
      await pushBlob(url, "team/app", bytes);
      expect((await mount(url, query)).status).toBe(202);
    },
  );

  test("a deleted blob is gone from its repository only, and from disk with the last one", async () => {
    const folder = await temporaryFolder();
    const { url } = await startRegistry({ folder });
    await pushBlob(url, "team/app", bytes);
    await mount(url, `mount=${digest}&from=team/app`);
    const remove = (name: string): Promise<Response> =>
      fetch(`${url}/v2/${name}/blobs/${digest}`, { method: "DELETE" });
    expect((await remove("team/app")).status).toBe(202);
    expect((await readBlob(url, "team/app", digest)).status).toBe(404);
    expect((await readBlob(url, "team/other", digest)).status).toBe(200);
    expect((await remove("team/other")).status).toBe(202);
    const files = await readdir(join(folder, "blobs"), { recursive: true, withFileTypes: true });
    expect(files.filter((entry) => entry.isFile())).toEqual([]);
    const again = await remove("team/other");
    expect([again.status, await errorCodes(again)]).toEqual([404, ["BLOB_UNKNOWN"]]);
  });
});

describe("paths", () => {
  test("a repository name may come with its slashes escaped", async () => {
    const { url } = await startRegistry();
    await pushBlob(url, "a%2Fb%2Fc", bytes);
    expect((await readBlob(url, "a/b/c", digest)).status).toBe(200);
  });

  test.each(["Team/app", "team//app", "team/../app", "-team", "team/app_", "a".repeat(256)])(
    "the name %s is refused",
    async (name) => {
      const { url } = await startRegistry();
      const escaped = name.replaceAll("/", "%2F");
      const response = await fetch(`${url}/v2/${escaped}/blobs/uploads/`, { method: "POST" });
      expect([response.status, await errorCodes(response)]).toEqual([400, ["NAME_INVALID"]]);
    },
  );

  test("a broken escape, an unknown path and a wrong method are told apart", async () => {
    const { url } = await startRegistry();
    const broken = await fetch(`${url}/v2/a%zz/tags/list`);
    expect([broken.status, await errorCodes(broken)]).toEqual([400, ["NAME_INVALID"]]);
    expect((await fetch(`${url}/v3/`)).status).toBe(404);
    const method = await fetch(`${url}/v2/team/app/blobs/${digest}`, { method: "PATCH" });
    expect([method.status, method.headers.get("allow")]).toEqual([405, "GET, HEAD, DELETE"]);
    expect(await errorCodes(method)).toEqual(["UNSUPPORTED"]);
  });
});
