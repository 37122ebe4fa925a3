// The history of repositories in memory: what is compared, what is skipped and why, and what ends it.
import { beforeEach, describe, expect, test } from "vitest";
import { createDirectEngine } from "../../../src/adapters/direct-engine/index.ts";
import { createPushHistory, type HistoryStep } from "../../../src/adapters/direct-engine/push-history.ts";
import { createMemoryCache } from "../../../src/adapters/index-cache/memory.ts";
import { RegistryError } from "../../../src/core/image/registry-error.ts";
import type { Registries, Repository } from "../../../src/ports/registry.ts";
import type { LayerFacts } from "../../support/layers.ts";
import { createMemoryRegistries, type MemoryRegistries } from "../../support/memory-registries.ts";
import { seededBytes } from "../../support/seeded-bytes.ts";
import { pushTestImage, pushTestIndex, type ImageFacts } from "../../support/test-image.ts";

const HOST = "r.example";
const BASE: LayerFacts = { "usr/bin": { content: seededBytes("base", 50_000) } };
const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
let registries: MemoryRegistries;
let repository: Repository;

const version = (at: number, extra: Partial<ImageFacts> = {}): ImageFacts => ({
  layers: [
    BASE,
    { "app/model.pkl": `model ${at}` },
    { "lib/a.so": { content: seededBytes("a", 90_000), mtime: at }, "lib/b.so": { content: "b", mtime: at } },
  ],
  created: `2026-01-${String(at).padStart(2, "0")}T00:00:00Z`,
  ...extra,
});
const push = (tag: string, facts: ImageFacts) => pushTestImage(repository, tag, facts);
const measure = (request: object = {}, over: Registries = registries) =>
  createPushHistory({ registries: over }).measurePushes({ repository: `${HOST}/app`, last: 10, ...request });
const putManifest = (tag: string, manifest: object, mediaType = OCI_MANIFEST) =>
  repository.putManifest(tag, { mediaType, bytes: Buffer.from(JSON.stringify(manifest)) });
const readJson = async (tag: string) => JSON.parse(Buffer.from((await repository.getManifest(tag)).bytes).toString());

beforeEach(async () => {
  registries = createMemoryRegistries();
  repository = registries.open(HOST, "app");
  for (const at of [1, 2, 3]) await push(String(at), version(at));
});

describe("a history", () => {
  test("promises what rebasing push after push delivers, and writes nothing", async () => {
    registries.log.length = 0;
    const { pushes, start, platform } = await measure();
    expect(registries.log.filter((line) => !line.startsWith("read"))).toEqual([]);
    expect([start?.tag, platform]).toEqual(["1", "linux/amd64"]);
    const engine = createDirectEngine({ registries });
    const two = await engine.rebase({ anchor: `${HOST}/app:1`, candidate: `${HOST}/app:2` });
    const three = await engine.rebase({ anchor: two.result.reference, candidate: `${HOST}/app:3` });
    expect(pushes.map(({ bytes }) => bytes.delta)).toEqual([two.bytes.delta, three.bytes.delta]);
    expect(pushes.map(({ drift }) => drift.class)).toEqual(["model", "model"]);
  });

  test("leaves rebased images out, whatever their tags", async () => {
    const before = await measure();
    const engine = createDirectEngine({ registries });
    const request = { anchor: `${HOST}/app:1`, candidate: `${HOST}/app:2` };
    await engine.rebase(request);
    await engine.rebase({ ...request, target: `${HOST}/app:edge` });
    expect(await measure()).toEqual(before);
  });

  test("counts the newest pushes and starts at the one before", async () => {
    const { start, pushes } = await measure({ last: 1 });
    expect([start?.tag, pushes.map(({ tag }) => tag)]).toEqual(["2", ["3"]]);
    const all = await measure({ last: 99, tags: "*" });
    expect([all.start?.tag, all.pushes.length]).toEqual(["1", 2]);
    expect((await measure({ tags: "[1-3]" })).start).toBeNull();
  });

  test("pulls an image whole where devices hold no layer of it, and goes on from there", async () => {
    await push("4", version(4, { layers: [{ "new-base": "x" }, ...version(4).layers.slice(1)] }));
    await push("5", version(5, { layers: [{ "new-base": "x" }, ...version(5).layers.slice(1)] }));
    const { pushes } = await measure();
    expect(pushes.map(({ outcome }) => outcome)).toEqual(["rebase", "rebase", "full", "rebase"]);
    expect(pushes[2]?.bytes.delta).toBe(pushes[2]?.bytes.full);
  });

  test("pulls an image whole where that is less than its delta", async () => {
    const added = { "x.bin": { content: seededBytes("x", 9_000) } };
    await push("4", version(4, { layers: [...version(1).layers, added] }));
    const { pushes } = await measure();
    const { layers, config } = await readJson("4");
    const manifest = await repository.getManifest("4");
    expect(pushes[2]).toMatchObject({
      outcome: "full",
      reason: expect.stringContaining("no smaller than the whole image"),
      bytes: { delta: layers[3].size + config.size + manifest.bytes.length },
    });
  });

  test("folds into a whole image when a chain has as many layers as runtimes mount", async () => {
    const tall = (at: number): ImageFacts =>
      version(at, {
        layers: [...Array.from({ length: 126 }, (_, n): LayerFacts => ({ [`f${n}`]: "x" })), { model: `${at}` }],
      });
    for (const at of [4, 5, 6]) await push(String(at), tall(at));
    const { pushes } = await measure({ last: 2 });
    expect(pushes.map(({ outcome, reason }) => [outcome, /layers as runtimes mount/.test(reason)])).toEqual([
      ["full", true],
      ["full", true],
    ]);
  });

  test("reads a layer once, and from a cache not at all", async () => {
    const cache = createMemoryCache({ maxBytes: 1e6 });
    const history = createPushHistory({ registries, cache });
    const request = { repository: `${HOST}/app`, last: 10 };
    const first = await history.measurePushes(request);
    const layers = await Promise.all(["1", "2", "3"].map(async (tag) => (await readJson(tag)).layers));
    const reads = (): string[] => registries.log.filter((line) => line.startsWith("read"));
    const twins = layers.map(([, , { digest }]) => `read ${digest}`);
    for (const twin of twins) expect(reads().filter((line) => line === twin)).toHaveLength(1);
    registries.log.length = 0;
    expect(await history.measurePushes(request)).toEqual(first);
    for (const twin of twins) expect(reads()).not.toContain(twin);
  });

  test("tells how far it is", async () => {
    const steps: HistoryStep[] = [];
    const history = createPushHistory({ registries, onStep: (step) => void steps.push(step) });
    await history.measurePushes({ repository: `${HOST}/app`, last: 10 });
    expect(steps.map(({ step, done, total }) => `${step} ${done}/${total}`)).toEqual([
      "list 1/3",
      "list 2/3",
      "list 3/3",
      "compare 1/2",
      "compare 2/2",
    ]);
  });
});

describe("what a history skips", () => {
  const skippedOf = async (request: object = {}): Promise<[string, string][]> => {
    const { skipped, pushes } = await measure(request);
    expect(pushes.map(({ tag }) => tag)).toEqual(["2", "3"]);
    return skipped
      .map(({ tag, code }): [string, string] => [tag, code])
      .toSorted(([left], [right]) => (left < right ? -1 : 1));
  };

  test("are manifests that are no images", async () => {
    const image = await readJson("3");
    const schema1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    await putManifest("a-schema1", { schemaVersion: 1, name: "app", fsLayers: [] }, schema1);
    const empty = { mediaType: "application/vnd.oci.empty.v1+json", digest: image.config.digest, size: 2 };
    await putManifest("b-artifact", { ...image, config: empty, artifactType: "application/spdx+json" });
    const signature = { ...image.layers[0], mediaType: "application/vnd.dev.cosign.simplesigning.v1+json" };
    await putManifest("c.sig", { ...image, layers: [signature, ...image.layers.slice(1)] });
    const urls = ["https://example.com/base"];
    await putManifest("d-foreign", { ...image, layers: [{ ...image.layers[0], urls }, ...image.layers.slice(1)] });
    await putManifest("e-broken", { schemaVersion: 2, mediaType: OCI_MANIFEST });
    expect(await skippedOf()).toEqual([
      ["a-schema1", "MEDIA_TYPE_UNSUPPORTED"],
      ["b-artifact", "MEDIA_TYPE_UNSUPPORTED"],
      ["c.sig", "MEDIA_TYPE_UNSUPPORTED"],
      ["d-foreign", "MEDIA_TYPE_UNSUPPORTED"],
      ["e-broken", "MANIFEST_INVALID"],
    ]);
  });

  test("are images for other platforms", async () => {
    const arm = { os: "linux", architecture: "arm64" };
    const other = await push("2-arm", version(2, { platform: arm }));
    await pushTestIndex(repository, "index", [other]);
    await pushTestIndex(repository, "mixed", [other, { ...other, platform: { os: "windows", architecture: "amd64" } }]);
    expect(await skippedOf()).toEqual([
      ["2-arm", "PLATFORM_MISMATCH"],
      ["index", "PLATFORM_MISMATCH"],
      ["mixed", "PLATFORM_NOT_FOUND"],
    ]);
    expect(await skippedOf({ platform: "linux/amd64" })).toEqual([
      ["2-arm", "PLATFORM_MISMATCH"],
      ["index", "PLATFORM_NOT_FOUND"],
      ["mixed", "PLATFORM_NOT_FOUND"],
    ]);
  });

  test("are images whose layers cannot be read, wherever they stand", async () => {
    const damage = async (tag: string, created: string): Promise<void> => {
      const facts = version(1, { created, layers: [BASE, { [tag]: "only here" }] });
      await push(tag, facts);
      const { layers } = await readJson(tag);
      registries.blobs.delete(`${HOST}/app@${layers[1].digest}`);
    };
    await damage("first", "2025-01-01T00:00:00Z");
    await damage("second", "2026-01-01T12:00:00Z");
    await damage("last", "2026-02-01T00:00:00Z");
    expect(await skippedOf()).toEqual([
      ["first", "BLOB_UNKNOWN"],
      ["last", "BLOB_UNKNOWN"],
      ["second", "BLOB_UNKNOWN"],
    ]);
  });

  test.each(["UNREACHABLE", "UNAUTHORIZED", "TOO_MANY_REQUESTS", "DENIED"] as const)(
    "is not all of a registry that answers %s",
    async (code) => {
      const failing: Registries = {
        open: (host, name) => ({
          ...registries.open(host, name),
          getManifest: async () => Promise.reject(new RegistryError(code, { operation: "read", subject: "x" })),
        }),
      };
      await expect(measure({}, failing)).rejects.toEqual(expect.objectContaining({ code }));
    },
  );

  test("is not what two tags share", async () => {
    registries.manifests.set(`${HOST}/app:latest`, await repository.getManifest("3"));
    const { pushes } = await measure();
    expect(pushes.at(-1)).toMatchObject({ tag: "3", otherTags: ["latest"] });
  });
});

describe("a memory cache", () => {
  test("keeps what was used last within its budget, and asks the one behind for the rest", async () => {
    const behind = createMemoryCache({ maxBytes: 100 });
    const cache = createMemoryCache({ maxBytes: 6, behind });
    for (const name of ["a", "b", "c"]) await cache.put(name, Buffer.from(`${name}${name}`));
    await cache.get("a");
    await cache.put("d", Buffer.from("dd"));
    await behind.put("a", Buffer.from("a2"));
    await behind.put("b", Buffer.from("b2"));
    expect(String(await cache.get("a"))).toBe("aa");
    expect(String(await cache.get("b"))).toBe("b2");
    expect(await cache.get("x")).toBeUndefined();
    expect(await createMemoryCache({ maxBytes: 1 }).get("x")).toBeUndefined();
  });
});
