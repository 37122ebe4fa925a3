// The direct engine over registries in memory: what it reads, writes, refuses and proves.
import { randomBytes } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import { createDirectEngine, type DirectEngineOptions } from "../../../src/adapters/direct-engine/index.ts";
import { parseConfig } from "../../../src/core/image/image-config.ts";
import { parseManifest, type ImageManifest } from "../../../src/core/image/manifest.ts";
import type { Digest } from "../../../src/core/image/descriptor.ts";
import type { ByteCache } from "../../../src/ports/byte-cache.ts";
import type { LayerFacts } from "../../support/layers.ts";
import { createMemoryRegistries, sha256, type MemoryRegistries } from "../../support/memory-registries.ts";
import { pushTestImage, pushTestIndex, type ImageFacts } from "../../support/test-image.ts";

const HOST = "r.example";
const seeded = randomBytes(300_000);
const BASE: LayerFacts = { "usr/": {}, "usr/bin": { content: seeded } };
const packages = (mtime: number): LayerFacts => ({
  "lib/": { mtime },
  "lib/a.so": { content: seeded.subarray(0, 200_000), mtime },
  "lib/b.so": { content: seeded.subarray(1000, 90_000), mtime },
});
const model = (text: string): LayerFacts => ({ "app/": {}, "app/model.pkl": text, "app/score.py": "same" });
const ONE: ImageFacts = {
  layers: [BASE, model("one"), packages(1)],
  config: { Env: ["V=1"] },
  created: "2026-01-01T00:00:00Z",
};
const TWO: ImageFacts = {
  layers: [BASE, model("two"), packages(2)],
  config: { Env: ["V=2"] },
  created: "2026-02-01T00:00:00Z",
};

let registries: MemoryRegistries;
const ref = (tag: string, repository = "app", host = HOST): string => `${host}/${repository}:${tag}`;
const push = (tag: string, facts: ImageFacts, repository = "app", host = HOST) =>
  pushTestImage(registries.open(host, repository), tag, facts);
const engineOf = (options: Partial<DirectEngineOptions> = {}) => createDirectEngine({ registries, ...options });
const readManifest = async (tag: string, repository = "app", host = HOST): Promise<ImageManifest> => {
  const { bytes, mediaType } = await registries.open(host, repository).getManifest(tag);
  return parseManifest(bytes, mediaType, tag) as ImageManifest;
};
const refusal = (code: string) => expect.objectContaining({ code });

function createMemoryCache(): ByteCache & { readonly entries: Map<string, Uint8Array> } {
  const entries = new Map<string, Uint8Array>();
  return {
    entries,
    get: async (name) => entries.get(name),
    put: async (name, bytes) => void entries.set(name, bytes),
  };
}

beforeEach(async () => {
  registries = createMemoryRegistries();
  await push("1", ONE);
  await push("2", TWO);
});

describe("a rebase", () => {
  test("pushes the anchor's layers, one small delta, the candidate's config, and proves it", async () => {
    const summary = await engineOf().rebase({ anchor: ref("1"), candidate: ref("2") });
    const anchor = await readManifest("1");
    const result = await readManifest("iot-2");
    expect(summary).toMatchObject({
      outcome: "rebase",
      sharedLayers: 1,
      verified: "exact",
      files: { added: 0, changed: 1, removed: 0, ignored: { mtimeOnly: 2, pyc: 0, volatile: 0 } },
      drift: { class: "config", packages: [] },
      config: { changed: ["Env.V"] },
      result: { reference: ref("iot-2") },
    });
    expect(result.layers.slice(0, 3)).toEqual(anchor.layers);
    expect(result.layers.slice(3).map(({ digest, size }) => ({ digest, size }))).toEqual(summary.layers);
    const raw = await registries.open(HOST, "app").getManifest("iot-2");
    expect(raw.digest).toBe(summary.result.digest);
    expect(summary.bytes.delta).toBe(raw.bytes.length + result.config.size + (summary.layers[0]?.size ?? 0));
    expect(summary.bytes.delta).toBeLessThan(3_000);
    expect(summary.bytes.full).toBeGreaterThan(200_000);
    const config = registries.blobs.get(`${HOST}/app@${result.config.digest}`) as Buffer;
    const parsed = parseConfig(config, 4, "the result");
    expect(parsed.runtime).toEqual({ Env: ["V=2"] });
    expect(parsed.created).toBe("2026-02-01T00:00:00Z");
    expect(parsed.history).toHaveLength(4);
  });

  test("reads no shared layer, every other one once, and the delta it pushed", async () => {
    const [one, two] = [await readManifest("1"), await readManifest("2")];
    registries.log.length = 0;
    await engineOf().rebase({ anchor: ref("1"), candidate: ref("2") });
    const result = await readManifest("iot-2");
    const reads = registries.log.filter((line) => line.startsWith("read")).map((line) => line.slice(5));
    const layers = [...one.layers.slice(1), ...two.layers.slice(1), ...result.layers.slice(3)];
    const configs = [one.config, two.config, result.config];
    expect(reads.sort()).toEqual([...layers, ...configs].map(({ digest }) => digest).sort());
  });

  test("gives the same digest whenever it is repeated, and from a warm cache", async () => {
    const cache = createMemoryCache();
    const request = { anchor: ref("1"), candidate: ref("2") };
    const first = await engineOf().rebase(request);
    const cold = await engineOf({ cache }).rebase(request);
    const read = registries.countBytes("read");
    const warm = await engineOf({ cache }).rebase(request);
    expect([cold, warm]).toEqual([first, first]);
    const { layers, config } = await readManifest("2");
    // The layer of the shipped file, three configs and the delta; nothing else.
    expect(registries.countBytes("read") - read).toBeLessThan((layers[1]?.size ?? 0) + 4 * config.size + 1_000);
  });

  test("re-reads a layer when its cached index is damaged", async () => {
    const cache = createMemoryCache();
    const request = { anchor: ref("1"), candidate: ref("2") };
    const first = await engineOf({ cache }).rebase(request);
    for (const [name, bytes] of cache.entries) cache.entries.set(name, bytes.subarray(1));
    expect(await engineOf({ cache }).rebase(request)).toEqual(first);
  });

  test("tags last, after everything the tag needs", async () => {
    registries.log.length = 0;
    await engineOf().rebase({ anchor: ref("1"), candidate: ref("2"), target: ref("x", "other") });
    const put = registries.log.findIndex((line) => line.startsWith("put"));
    const writes = registries.log.filter((line, at) => at > put && /^(write|mount)/.test(line));
    expect(put).toBeGreaterThan(0);
    expect(writes).toEqual([]);
  });

  test("mounts the anchor's layers in another repository and copies them to another registry", async () => {
    const request = { anchor: ref("1"), candidate: ref("2") };
    const near = await engineOf().rebase({ ...request, target: ref("x", "near") });
    expect(registries.log.filter((line) => line.startsWith("mount"))).toHaveLength(3);
    const far = await engineOf().rebase({ ...request, target: ref("x", "app", "far.example") });
    expect([near.verified, far.verified]).toEqual(["exact", "exact"]);
    expect(far.result.digest).toBe(near.result.digest);
    expect((await readManifest("x", "app", "far.example")).layers).toHaveLength(4);
  });

  test("goes on from a rebased image as the anchor", async () => {
    await engineOf().rebase({ anchor: ref("1"), candidate: ref("2") });
    await push("3", { ...TWO, layers: [BASE, model("three"), packages(3)] });
    const summary = await engineOf().rebase({ anchor: ref("iot-2"), candidate: ref("3") });
    expect(summary).toMatchObject({ verified: "exact", files: { changed: 1 } });
    expect((await readManifest("iot-3")).layers).toHaveLength(5);
  });

  test.each(["docker", "oci"] as const)("of an anchor of the %s family stays in the family", async (family) => {
    await push("a", { ...ONE, family });
    await push("c", { ...TWO, family });
    const summary = await engineOf().rebase({ anchor: ref("a"), candidate: ref("c") });
    const manifest = await readManifest("iot-c");
    expect(summary.verified).toBe("exact");
    expect(manifest.mediaType).toContain(family);
    expect(manifest.config.mediaType).toContain(family);
    expect(manifest.layers.every(({ mediaType }) => mediaType.includes(family))).toBe(true);
    expect(manifest.annotations === undefined).toBe(family === "docker");
  });

  test("reads zstd and plain layers", async () => {
    for (const compression of ["zstd", "none"] as const) {
      await push("a", { ...ONE, compression });
      await push("b", { ...TWO, compression });
      const summary = await engineOf().rebase({ anchor: ref("a"), candidate: ref("b"), target: ref("x") });
      expect(summary).toMatchObject({ verified: "exact", files: { changed: 1 } });
    }
  });

  test("ships what is too large to be kept, by reading its layer again", async () => {
    const big = randomBytes(20_000_000);
    await push("b", { ...TWO, layers: [BASE, { ...model("two"), "app/big.onnx": { content: big } }, packages(2)] });
    const plan = await engineOf().plan({ anchor: ref("1"), candidate: ref("b") });
    const summary = await engineOf().rebase({ anchor: ref("1"), candidate: ref("b") });
    expect(summary).toMatchObject({ verified: "exact", files: { added: 1, changed: 1 } });
    expect(plan.bytes.estimated).toBe(true);
    expect(plan.bytes.delta / summary.bytes.delta).toBeCloseTo(1, 1);
  });

  test("restores a file of a shared layer that the anchor had replaced", async () => {
    await push("a", { ...ONE, layers: [BASE, { "usr/bin": "patched", "etc/added": "x" }, packages(1)] });
    await push("b", { ...TWO, layers: [BASE, model("two"), packages(2)] });
    const summary = await engineOf().rebase({ anchor: ref("a"), candidate: ref("b") });
    expect(summary).toMatchObject({ verified: "exact", files: { added: 2, changed: 1, removed: 1 } });
    expect(await engineOf().verify({ result: ref("iot-b"), candidate: ref("b") })).toMatchObject({ verified: "exact" });
  });

  test("reads the shared layers when an older version's folder is gone, since they might hold it too", async () => {
    const versioned = (version: number): ImageFacts => ({
      layers: [BASE, { "m/": {}, [`m/${version}/`]: {}, [`m/${version}/model.pkl`]: `model ${version}` }],
    });
    await push("a", versioned(1));
    await push("b", versioned(2));
    const base = (await readManifest("a")).layers[0]?.digest;
    expect(await engineOf().rebase({ anchor: ref("a"), candidate: ref("b") })).toMatchObject({ verified: "exact" });
    expect(registries.log).toContain(`read ${base}`);
  });
});

describe("a plan", () => {
  test("promises what the rebase delivers, and writes nothing", async () => {
    registries.log.length = 0;
    const plan = await engineOf().plan({ anchor: ref("1"), candidate: ref("2") });
    expect(registries.log.filter((line) => !line.startsWith("read"))).toEqual([]);
    const {
      result: _result,
      layers: _layers,
      verified: _verified,
      ...summary
    } = await engineOf().rebase({
      anchor: ref("1"),
      candidate: ref("2"),
    });
    expect(plan).toEqual(summary);
  });

  test("of the same image has nothing to do", async () => {
    await push("again", ONE);
    const summary = await engineOf().rebase({ anchor: ref("1"), candidate: ref("again") });
    expect(summary).toMatchObject({ outcome: "nothing", bytes: { full: 0, delta: 0 }, layers: [], verified: "exact" });
    expect(summary.result).toEqual(summary.anchor);
  });

  test("of images that differ in nothing that counts has nothing to do", async () => {
    await push("again", { ...ONE, layers: [BASE, model("one"), packages(9)], created: "2027-01-01T00:00:00Z" });
    const plan = await engineOf().plan({ anchor: ref("1"), candidate: ref("again") });
    expect(plan).toMatchObject({ outcome: "nothing", files: { ignored: { mtimeOnly: 2 } }, drift: { class: "none" } });
    expect(plan.bytes.delta).toBe(0);
  });

  test("of images that differ in settings alone ships a config and no layer", async () => {
    await push("again", { ...ONE, config: { Env: ["V=3"] } });
    const summary = await engineOf().rebase({ anchor: ref("1"), candidate: ref("again") });
    expect(summary).toMatchObject({ outcome: "rebase", layers: [], verified: "exact", drift: { class: "config" } });
  });

  test("of images without a common layer is a full release, said so", async () => {
    await push("x", { layers: [{ other: "base" }, model("two")] });
    const summary = await engineOf().rebase({ anchor: ref("1"), candidate: ref("x") });
    expect(summary).toMatchObject({ outcome: "full", sharedLayers: 0, layers: [] });
    expect(summary.reason).toContain("no common layer");
    expect(summary.result).toEqual(summary.candidate);
    expect(summary.bytes.delta).toBe(summary.bytes.full);
    expect([...registries.manifests.keys()]).not.toContain(ref("iot-x"));
  });

  test("of images for different platforms is refused", async () => {
    await push("arm", { ...TWO, platform: { os: "linux", architecture: "arm64" } });
    const plan = engineOf().plan({ anchor: ref("1"), candidate: ref("arm") });
    await expect(plan).rejects.toEqual(refusal("PLATFORM_MISMATCH"));
    const asked = engineOf().plan({ anchor: ref("1"), candidate: ref("2"), platform: "linux/arm64" });
    await expect(asked).rejects.toEqual(refusal("PLATFORM_MISMATCH"));
  });

  test("of multi-platform images picks the platform", async () => {
    const arm = { os: "linux", architecture: "arm64", variant: "v8" };
    for (const [tag, facts] of [
      ["1", ONE],
      ["2", TWO],
    ] as const) {
      const other = { ...facts, platform: arm, layers: [{ "arm-base": "b" }, model(`arm ${tag}`)] };
      const amd64 = await push(tag, facts);
      await pushTestIndex(registries.open(HOST, "app"), `m${tag}`, [await push(`arm${tag}`, other), amd64]);
    }
    const amd64 = await engineOf().plan({ anchor: ref("m1"), candidate: ref("m2") });
    expect(amd64).toMatchObject({ anchor: { digest: (await registries.open(HOST, "app").getManifest("1")).digest } });
    const summary = await engineOf().rebase({ anchor: ref("m1"), candidate: ref("m2"), platform: "linux/arm64" });
    expect(summary).toMatchObject({ verified: "exact", sharedLayers: 1, result: { reference: ref("iot-m2") } });
    const missing = engineOf().plan({ anchor: ref("m1"), candidate: ref("m2"), platform: "linux/s390x" });
    await expect(missing).rejects.toEqual(refusal("PLATFORM_NOT_FOUND"));
  });

  test("refuses a result of more than 127 layers", async () => {
    const many = Array.from({ length: 127 }, (_, at): LayerFacts => ({ [`f${at}`]: "x" }));
    await push("a", { layers: many });
    await push("b", { layers: [...many.slice(0, 100), { new: "y" }, ...many.slice(100)] });
    await expect(engineOf().plan({ anchor: ref("a"), candidate: ref("b") })).rejects.toEqual(
      refusal("LAYER_LIMIT_REACHED"),
    );
  });

  test("does not wait for itself when both sides have a layer at different heights", async () => {
    const layer: LayerFacts = { big: { content: seeded } };
    await push("a", { layers: [BASE, { x: { content: seeded.subarray(0, 9) } }, layer] });
    await push("b", { layers: [BASE, layer, { x: { content: seeded.subarray(0, 8) } }] });
    const summary = await engineOf().rebase({ anchor: ref("a"), candidate: ref("b") });
    expect(summary).toMatchObject({ verified: "exact", files: { added: 0, changed: 1, ignored: { mtimeOnly: 0 } } });
  });
});

describe("bad images", () => {
  const replaceManifest = (
    tag: string,
    bytes: Buffer,
    mediaType = "application/vnd.oci.image.manifest.v1+json",
  ): void => void registries.manifests.set(ref(tag), { bytes, mediaType, digest: sha256(bytes) });
  const plan = () => engineOf().plan({ anchor: ref("1"), candidate: ref("2") });
  const blobKey = (digest: Digest): string => `${HOST}/app@${digest}`;

  test("whose manifest is no JSON or of an unknown type are refused", async () => {
    replaceManifest("2", Buffer.from("not JSON"));
    await expect(plan()).rejects.toEqual(refusal("MANIFEST_INVALID"));
    replaceManifest("2", Buffer.from("{}"), "application/vnd.docker.distribution.manifest.v1+json");
    await expect(plan()).rejects.toEqual(refusal("MEDIA_TYPE_UNSUPPORTED"));
  });

  test("whose config or layers are of an unknown type are refused", async () => {
    const manifest = JSON.parse(Buffer.from((await registries.open(HOST, "app").getManifest("2")).bytes).toString());
    const { config, layers } = manifest;
    replaceManifest(
      "2",
      Buffer.from(
        JSON.stringify({ ...manifest, config: { ...config, mediaType: "application/vnd.cncf.helm.config.v1+json" } }),
      ),
    );
    await expect(plan()).rejects.toEqual(refusal("MEDIA_TYPE_UNSUPPORTED"));
    const strange = layers.map((layer: object, at: number) => (at === 1 ? { ...layer, mediaType: "x/y" } : layer));
    replaceManifest("2", Buffer.from(JSON.stringify({ ...manifest, layers: strange })));
    await expect(plan()).rejects.toEqual(refusal("MEDIA_TYPE_UNSUPPORTED"));
  });

  test("that are not there are refused", async () => {
    await expect(engineOf().plan({ anchor: ref("1"), candidate: ref("9") })).rejects.toEqual(
      refusal("MANIFEST_UNKNOWN"),
    );
  });

  test("whose layers are not what their digests say fail with that, whatever else is wrong with them", async () => {
    const { layers } = await readManifest("2");
    const key = blobKey(layers[2]?.digest as Digest);
    const blob = registries.blobs.get(key) as Buffer;
    registries.blobs.set(key, Buffer.concat([blob.subarray(0, -1), Buffer.from([1])]));
    await expect(plan()).rejects.toEqual(
      expect.objectContaining({ name: expect.stringMatching(/RegistryError|ImageError/) }),
    );
    registries.blobs.set(key, blob.subarray(0, 1_000));
    await expect(plan()).rejects.toEqual(refusal("SIZE_MISMATCH"));
  });

  test("stop the reading of the other image", async () => {
    const big: LayerFacts = { big: { content: randomBytes(30_000_000) } };
    await push("long", { ...ONE, layers: [BASE, big] });
    await push("evil", { ...TWO, layers: [BASE, { "../x": "x" }] });
    const before = registries.countBytes("read");
    for (const [anchor, candidate] of [
      ["long", "evil"],
      ["evil", "long"],
    ] as const) {
      const refused = engineOf().plan({ anchor: ref(anchor), candidate: ref(candidate) });
      await expect(refused).rejects.toEqual(refusal("TAR_PATH_ESCAPES"));
    }
    await new Promise((resolve) => setImmediate(resolve));
    expect(registries.countBytes("read") - before).toBeLessThan(20_000_000);
  });

  test("whose layer unpacks to more than allowed are refused", async () => {
    const refused = engineOf({ maxLayerBytes: 100_000 }).plan({ anchor: ref("1"), candidate: ref("2") });
    await expect(refused).rejects.toEqual(refusal("LAYER_TOO_LARGE"));
  });

  test("whose layer holds paths outside the root are refused", async () => {
    await push("evil", { layers: [BASE, { "../../etc/cron.d/x": "x" }] });
    const refused = engineOf().rebase({ anchor: ref("1"), candidate: ref("evil") });
    await expect(refused).rejects.toEqual(refusal("TAR_PATH_ESCAPES"));
  });

  test("given by malformed references or to a digest are refused", async () => {
    await expect(engineOf().plan({ anchor: "UPPER", candidate: ref("2") })).rejects.toEqual(
      refusal("REFERENCE_INVALID"),
    );
    const target = `${HOST}/app@${sha256(Buffer.from(""))}`;
    const request = { anchor: ref("1"), candidate: ref("2"), target };
    await expect(engineOf().rebase(request)).rejects.toEqual(refusal("REFERENCE_INVALID"));
  });
});

describe("a verification", () => {
  test("names what differs, up to a limit", async () => {
    const { verified } = await engineOf().verify({ result: ref("1"), candidate: ref("2") });
    expect(verified).toEqual(["config config differs", "config created differs", "differs /app/model.pkl"]);
    await push("many", {
      ...TWO,
      layers: [BASE, Object.fromEntries(Array.from({ length: 50 }, (_, at) => [`f${at}`, "x"]))],
    });
    const many = await engineOf().verify({ result: ref("2"), candidate: ref("many") });
    expect(many.verified).toHaveLength(21);
    expect(many.verified.at(-1)).toMatch(/^and \d+ more$/);
  });

  test("demands the anchor's layers as the first", async () => {
    const request = { result: ref("2"), candidate: ref("2"), anchor: ref("1") };
    expect(await engineOf().verify(request)).toMatchObject({
      verified: ["the anchor's layers are not the first of the result"],
    });
    await engineOf().rebase({ anchor: ref("1"), candidate: ref("2") });
    expect(await engineOf().verify({ ...request, result: ref("iot-2") })).toMatchObject({ verified: "exact" });
  });

  test("sees a delta that the registry holds damaged, and a diff_id that is wrong", async () => {
    await engineOf().rebase({ anchor: ref("1"), candidate: ref("2") });
    const raw = await registries.open(HOST, "app").getManifest("iot-2");
    const manifest = JSON.parse(Buffer.from(raw.bytes).toString());
    const config = JSON.parse(String(registries.blobs.get(`${HOST}/app@${manifest.config.digest}`)));
    config.rootfs.diff_ids[3] = sha256(Buffer.from("something else"));
    const bytes = Buffer.from(JSON.stringify(config));
    const descriptor = { ...manifest.config, digest: sha256(bytes), size: bytes.length };
    const repository = registries.open(HOST, "app");
    await repository.writeBlob(descriptor, bytes);
    const changed = Buffer.from(JSON.stringify({ ...manifest, config: descriptor }));
    await repository.putManifest("wrong", { mediaType: raw.mediaType, bytes: changed });
    const { verified } = await engineOf().verify({ result: ref("wrong"), candidate: ref("2"), anchor: ref("1") });
    expect(verified).toEqual([expect.stringContaining("diff_id of layer 3")]);

    const key = `${HOST}/app@${manifest.layers[3].digest}`;
    registries.blobs.set(key, Buffer.from("x"));
    const verification = engineOf().verify({ result: ref("iot-2"), candidate: ref("2") });
    await expect(verification).rejects.toEqual(refusal("SIZE_MISMATCH"));
  });
});

describe("one layer at a time", () => {
  test("is indexed into the cache, from which the plan then reads nothing", async () => {
    const cache = createMemoryCache();
    const engine = engineOf({ cache });
    const request = { anchor: ref("1"), candidate: ref("2") };
    const { layers, sharedLayers, candidate } = await engine.compareImages(request);
    expect([layers.length, sharedLayers, candidate.reference]).toEqual([4, 1, ref("2")]);
    for (const task of layers) expect(await engine.indexLayer(task)).toMatchObject({ entries: 3, cached: false });
    for (const task of layers) expect(await engine.indexLayer(task)).toMatchObject({ cached: true });
    expect(JSON.parse(JSON.stringify(layers))).toEqual(layers);
    registries.log.length = 0;
    await engine.plan(request);
    const { config, layers: own } = await readManifest("2");
    const shipped = [
      `read ${(await readManifest("1")).config.digest}`,
      `read ${config.digest}`,
      `read ${own[1]?.digest}`,
    ];
    expect(registries.log.sort()).toEqual(shipped.sort());
  });

  test("is not asked for when there is nothing to compare", async () => {
    const { layers } = await engineOf().compareImages({ anchor: ref("1"), candidate: ref("1") });
    expect(layers).toEqual([]);
  });
});
