// Manifests, tags, lists and referrers of the embedded registry, request by request.
import { describe, expect, test } from "vitest";
import {
  digestOf,
  errorCodes,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_LAYER,
  OCI_MANIFEST,
  pushBlob,
  pushImage,
  putManifest,
  seededBytes,
  startRegistry,
} from "./support.ts";

const DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
const layer = seededBytes(3, 5000);
const UNKNOWN = digestOf(Buffer.from("nobody pushed this"));
const descriptor = (digest: string, mediaType = OCI_LAYER, size = 1): object => ({ mediaType, digest, size });

describe("manifests", () => {
  test("come back byte for byte, by tag and by digest, with GET and HEAD", async () => {
    const { url } = await startRegistry();
    const image = await pushImage(url, "team/app", "1", layer);
    for (const reference of ["1", image.digest]) {
      for (const method of ["GET", "HEAD"]) {
        const response = await fetch(`${url}/v2/team/app/manifests/${reference}`, { method });
        expect(response.status).toBe(200);
        expect(response.headers.get("content-type")).toBe(OCI_MANIFEST);
        expect(response.headers.get("docker-content-digest")).toBe(image.digest);
        expect(response.headers.get("content-length")).toBe(String(image.body.length));
        expect(await response.text()).toBe(method === "GET" ? image.body : "");
      }
    }
  });

  test("keep odd white space and key order", async () => {
    const { url } = await startRegistry();
    const image = await pushImage(url, "team/app", "1", layer);
    const odd = `\n ${image.body.replace('{"schemaVersion":2,', '{ "z" : 1,\t"schemaVersion":2,')}  \n`;
    const pushed = await putManifest(url, "team/app", "odd", odd);
    expect(pushed.headers.get("docker-content-digest")).toBe(digestOf(Buffer.from(odd)));
    expect(pushed.headers.get("location")).toBe(`/v2/team/app/manifests/${digestOf(Buffer.from(odd))}`);
    expect(await (await fetch(`${url}/v2/team/app/manifests/odd`)).text()).toBe(odd);
  });

  test("can be pushed by digest, sha256 or sha512, but not by another one", async () => {
    const { url } = await startRegistry();
    const { body } = await pushImage(url, "team/app", "1", layer);
    for (const algorithm of ["sha256", "sha512"] as const) {
      const digest = digestOf(Buffer.from(body), algorithm);
      const pushed = await putManifest(url, "team/app", digest, body);
      expect([pushed.status, pushed.headers.get("docker-content-digest")]).toEqual([201, digest]);
      expect(await (await fetch(`${url}/v2/team/app/manifests/${digest}`)).text()).toBe(body);
    }
    const wrong = await putManifest(url, "team/app", UNKNOWN, body);
    expect([wrong.status, await errorCodes(wrong)]).toEqual([400, ["DIGEST_INVALID"]]);
  });

  test.each([
    ["not JSON", "{", OCI_MANIFEST],
    ["not UTF-8 JSON of an object", "[]", OCI_MANIFEST],
    ["of an unknown media type", "{}", "application/json"],
    ["without schemaVersion", { config: descriptor(UNKNOWN), layers: [] }, OCI_MANIFEST],
    ["of schema version 1", { schemaVersion: 1 }, "application/vnd.docker.distribution.manifest.v1+json"],
    ["without layers", { schemaVersion: 2, config: descriptor(UNKNOWN) }, OCI_MANIFEST],
    ["with a bad digest", { schemaVersion: 2, config: descriptor("sha256:1"), layers: [] }, OCI_MANIFEST],
    ["with a negative size", { schemaVersion: 2, config: descriptor(UNKNOWN, "x", -1), layers: [] }, OCI_MANIFEST],
    ["that contradicts its Content-Type", { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] }, OCI_MANIFEST],
    [
      "that is image and index at once",
      { schemaVersion: 2, config: descriptor(UNKNOWN), layers: [], manifests: [] },
      OCI_MANIFEST,
    ],
  ])("%s are refused with MANIFEST_INVALID", async (_what, manifest, mediaType) => {
    const { url } = await startRegistry();
    const response = await putManifest(url, "team/app", "1", manifest, mediaType);
    expect([response.status, await errorCodes(response)]).toEqual([400, ["MANIFEST_INVALID"]]);
  });

  test("that refer to content the repository lacks are refused, foreign layers apart", async () => {
    const { url } = await startRegistry();
    const config = await pushBlob(url, "team/app", Buffer.from("{}"));
    const image = (layers: object[]): object => ({
      schemaVersion: 2,
      config: descriptor(config, OCI_CONFIG, 2),
      layers,
    });
    const missing = await putManifest(url, "team/app", "1", image([descriptor(UNKNOWN)]));
    expect([missing.status, await errorCodes(missing)]).toEqual([400, ["MANIFEST_BLOB_UNKNOWN"]]);
    const foreign = {
      ...descriptor(UNKNOWN, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
      urls: ["http://x/"],
    };
    expect((await putManifest(url, "team/app", "1", image([foreign]), DOCKER_MANIFEST)).status).toBe(201);
    const index = { schemaVersion: 2, manifests: [descriptor(UNKNOWN, OCI_MANIFEST)] };
    const sparse = await putManifest(url, "team/app", "2", index, OCI_INDEX);
    expect([sparse.status, await errorCodes(sparse)]).toEqual([400, ["MANIFEST_BLOB_UNKNOWN"]]);
  });

  test("of more than 4 MiB are refused with 413", async () => {
    const { url } = await startRegistry();
    const { body } = await pushImage(url, "team/app", "1", layer);
    const atLimit = body + " ".repeat(4 * 1024 * 1024 - body.length);
    expect((await putManifest(url, "team/app", "2", atLimit)).status).toBe(201);
    const response = await putManifest(url, "team/app", "2", `${atLimit} `);
    expect([response.status, await errorCodes(response)]).toEqual([413, ["SIZE_INVALID"]]);
    const huge = await putManifest(url, "team/app", "2", " ".repeat(30 * 1024 * 1024));
    expect([huge.status, await errorCodes(huge)]).toEqual([413, ["SIZE_INVALID"]]);
  });

  test("unknown ones and bad tags are told apart", async () => {
    const { url } = await startRegistry();
    await pushImage(url, "team/app", "1", layer);
    for (const path of ["team/app/manifests/2", `team/app/manifests/${UNKNOWN}`, "team/none/manifests/1"]) {
      const response = await fetch(`${url}/v2/${path}`);
      expect([response.status, await errorCodes(response)]).toEqual([404, ["MANIFEST_UNKNOWN"]]);
    }
    for (const [tag, code] of [
      [".hidden", "TAG_INVALID"],
      ["a".repeat(129), "TAG_INVALID"],
      ["sha256:12", "DIGEST_INVALID"],
    ]) {
      const response = await fetch(`${url}/v2/team/app/manifests/${tag}`);
      expect([response.status, await errorCodes(response)]).toEqual([400, [code]]);
    }
  });

  test("are not given to a client whose Accept leaves them out", async () => {
    const { url } = await startRegistry();
    await pushImage(url, "team/app", "1", layer);
    const read = (accept: string): Promise<Response> =>
      fetch(`${url}/v2/team/app/manifests/1`, { headers: { accept } });
    expect((await read(`${DOCKER_MANIFEST}, ${OCI_MANIFEST};q=0.5`)).status).toBe(200);
    const refused = await read(DOCKER_MANIFEST);
    expect([refused.status, await errorCodes(refused)]).toEqual([404, ["MANIFEST_UNKNOWN"]]);
  });

  test("a tag moves; deleting it leaves the manifest; deleting the manifest takes its tags", async () => {
    const { url } = await startRegistry();
    const first = await pushImage(url, "team/app", "1", layer);
    const second = await pushImage(url, "team/app", "1", seededBytes(4, 100));
    await putManifest(url, "team/app", "also", second.body);
    const seen = async (reference: string): Promise<[number, string | null]> => {
      const response = await fetch(`${url}/v2/team/app/manifests/${reference}`, { method: "HEAD" });
      return [response.status, response.headers.get("docker-content-digest")];
    };
    const remove = async (reference: string): Promise<number> =>
      (await fetch(`${url}/v2/team/app/manifests/${reference}`, { method: "DELETE" })).status;
    expect(await seen("1")).toEqual([200, second.digest]);
    expect(await seen(first.digest)).toEqual([200, first.digest]);
    expect(await remove("1")).toBe(202);
    expect((await seen("1"))[0]).toBe(404);
    expect(await seen(second.digest)).toEqual([200, second.digest]);
    expect(await remove(second.digest)).toBe(202);
    expect((await seen("also"))[0]).toBe(404);
    expect(await remove(second.digest)).toBe(404);
    expect(await remove("1")).toBe(404);
    expect(await seen(first.digest)).toEqual([200, first.digest]);
  });
});

describe("lists", () => {
  /** Follows Link headers and returns the pages. */
  async function readPages(url: string, path: string, key: "tags" | "repositories"): Promise<string[][]> {
    const pages: string[][] = [];
    for (let next: string | undefined = path; next !== undefined;) {
      const response: Response = await fetch(url + next);
      expect(response.status).toBe(200);
      pages.push(((await response.json()) as Record<"tags" | "repositories", string[]>)[key]);
      next = /^<(\/[^>]*)>; rel="next"$/.exec(response.headers.get("link") ?? "")?.[1];
    }
    return pages;
  }

  test("tags come in ASCII order, page by page", async () => {
    const { url } = await startRegistry();
    const { body } = await pushImage(url, "team/app", "b", layer);
    for (const tag of ["a", "B", "1.10", "1.9", "_x"]) await putManifest(url, "team/app", tag, body);
    expect(await readPages(url, "/v2/team/app/tags/list", "tags")).toEqual([["1.10", "1.9", "B", "_x", "a", "b"]]);
    expect(await readPages(url, "/v2/team/app/tags/list?n=4", "tags")).toEqual([
      ["1.10", "1.9", "B", "_x"],
      ["a", "b"],
    ]);
    expect(await readPages(url, "/v2/team/app/tags/list?n=3", "tags")).toEqual([
      ["1.10", "1.9", "B"],
      ["_x", "a", "b"],
    ]);
    expect(await readPages(url, "/v2/team/app/tags/list?last=B", "tags")).toEqual([["_x", "a", "b"]]);
    expect(await readPages(url, "/v2/team/app/tags/list?n=0", "tags")).toEqual([[]]);
  });

  test("a list of more than a hundred is paged though nobody asked", async () => {
    const { url } = await startRegistry();
    const { body } = await pushImage(url, "team/app", "t000", layer);
    const tags = Array.from({ length: 130 }, (_, index) => `t${String(index).padStart(3, "0")}`);
    await Promise.all(tags.map((tag) => putManifest(url, "team/app", tag, body)));
    expect(await readPages(url, "/v2/team/app/tags/list", "tags")).toEqual([tags.slice(0, 100), tags.slice(100)]);
  });

  test("the catalog names repositories that hold a manifest, page by page", async () => {
    const { url } = await startRegistry();
    for (const name of ["b/two", "a", "b/one"]) await pushImage(url, name, "1", layer);
    await pushBlob(url, "only/blobs", layer);
    expect(await readPages(url, "/v2/_catalog?n=2", "repositories")).toEqual([["a", "b/one"], ["b/two"]]);
  });

  test("an unknown repository and a bad page size are refused", async () => {
    const { url } = await startRegistry();
    const unknown = await fetch(`${url}/v2/team/none/tags/list`);
    expect([unknown.status, await errorCodes(unknown)]).toEqual([404, ["NAME_UNKNOWN"]]);
    const bad = await fetch(`${url}/v2/_catalog?n=-1`);
    expect([bad.status, await errorCodes(bad)]).toEqual([400, ["PAGINATION_NUMBER_INVALID"]]);
  });
});

describe("referrers", () => {
  test("are listed by subject and filtered by artifact type", async () => {
    const { url } = await startRegistry();
    const image = await pushImage(url, "team/app", "1", layer);
    const subject = descriptor(image.digest, OCI_MANIFEST, image.body.length);
    const config = { mediaType: OCI_CONFIG, digest: image.config, size: 1 };
    const sbom = {
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      artifactType: "x/sbom",
      config,
      layers: [],
      subject,
      annotations: { a: "b" },
    };
    const plain = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [], subject };
    const pushed = await putManifest(url, "team/app", digestOf(Buffer.from(JSON.stringify(sbom))), sbom);
    expect([pushed.status, pushed.headers.get("oci-subject")]).toEqual([201, image.digest]);
    await putManifest(url, "team/app", "plain", plain);

    const list = async (query = ""): Promise<{ types: unknown[]; filtered: string | null; first: unknown }> => {
      const response = await fetch(`${url}/v2/team/app/referrers/${image.digest}${query}`);
      expect([response.status, response.headers.get("content-type")]).toEqual([200, OCI_INDEX]);
      const { manifests } = (await response.json()) as { manifests: { artifactType: string }[] };
      const types = manifests.map(({ artifactType }) => artifactType).sort();
      return { types, filtered: response.headers.get("oci-filters-applied"), first: manifests[0] };
    };
    expect((await list()).types).toEqual([OCI_CONFIG, "x/sbom"]);
    const filtered = await list("?artifactType=x/sbom");
    expect([filtered.types, filtered.filtered]).toEqual([["x/sbom"], "artifactType"]);
    const body = JSON.stringify(sbom);
    expect(filtered.first).toEqual({
      mediaType: OCI_MANIFEST,
      digest: digestOf(Buffer.from(body)),
      size: body.length,
      artifactType: "x/sbom",
      annotations: { a: "b" },
    });
  });

  test("of an unknown subject are an empty index; of a bad digest an error", async () => {
    const { url } = await startRegistry();
    const none = await fetch(`${url}/v2/team/app/referrers/${UNKNOWN}`);
    expect(await none.json()).toEqual({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] });
    const bad = await fetch(`${url}/v2/team/app/referrers/latest`);
    expect([bad.status, await errorCodes(bad)]).toEqual([400, ["DIGEST_INVALID"]]);
  });
});
