// Pulls over real HTTP: only what is missing, verified, with credentials, and nothing kept of what was wrong.
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openContentStore } from "../../../local/edge-device/content-store.ts";
import { createControlDevice } from "../../../local/edge-device/control-device.ts";
import { parseImageReference } from "../../../local/edge-device/reference.ts";
import type { TestImage, TestLayer } from "./test-images.ts";
import { buildImage, buildLayer, digestOf } from "./test-images.ts";
import type { TestRegistry } from "./test-registry.ts";
import { startTestRegistry } from "./test-registry.ts";

/** How long real processes and sockets may take on a busy machine. */
const SOON = { timeout: 20_000, interval: 20 };
let folder = "";
let registry: TestRegistry;
let base: TestLayer;
let dependencies: TestLayer;
let model: TestLayer;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "lighter-pull-"));
  registry = await startTestRegistry();
  base = await buildLayer([{ name: "bin/tool", content: "tool".repeat(1000) }]);
  dependencies = await buildLayer([{ name: "lib/big", content: Buffer.alloc(300_000, "abcdefg") }], "zstd");
  model = await buildLayer([{ name: "model.pkl", content: "1" }]);
});
afterEach(async () => {
  await registry.close();
  rmSync(folder, { recursive: true, force: true });
});

const device = (
  credentials?: { address: string; username: string; password: string }[],
): ReturnType<typeof createControlDevice> =>
  createControlDevice({ deviceId: "control 1", folder, ...(credentials && { credentials }) });
const manifestBytes = (image: TestImage): number => image.contents.get(image.digest)?.bytes.length ?? Number.NaN;
const configBytes = (image: TestImage): number => image.contents.get(image.configDigest)?.bytes.length ?? Number.NaN;

describe("pulling", () => {
  test("brings everything once and then only the layers that are missing", async () => {
    const v1 = buildImage([base, dependencies, model]);
    const change = await buildLayer([{ name: "model.pkl", content: "2" }]);
    const v2 = buildImage([base, dependencies, model, change]);
    registry.push("team/app", "1", v1);
    registry.push("team/app", "2", v2);

    const first = await device().pull(`${registry.host}/team/app:1`);
    expect(first.layers.map(({ reused }) => reused)).toEqual([false, false, false]);
    const layerBytes = [base, dependencies, model].reduce((sum, { blob }) => sum + blob.length, 0);
    expect(first.bytesPulled).toBe(manifestBytes(v1) + configBytes(v1) + layerBytes);
    expect(registry.bytes.get("lighter-edge-device/1 client/control%201")).toBe(first.bytesPulled);

    const second = await device().pull(`${registry.host}/team/app:2`);
    expect(second.layers.map(({ reused }) => reused)).toEqual([true, true, true, false]);
    expect(second.bytesPulled).toBe(manifestBytes(v2) + configBytes(v2) + change.blob.length);
    expect(second.bytesReused).toBe(layerBytes);
    expect(registry.bytes.get("lighter-edge-device/1 client/control%201")).toBe(first.bytesPulled + second.bytesPulled);
  });

  test("asks for nothing when an image is named by a digest it has", async () => {
    const reference = registry.push("team/app", "1", buildImage([base]));
    await device().pull(reference);
    const before = registry.requests.length;
    const again = await device().pull(reference);
    expect(again.bytesPulled).toBe(0);
    expect(registry.requests.length).toBe(before);
  });

  test("picks its platform from an index and refuses an index without it", async () => {
    const image = buildImage([base]);
    const mediaType = "application/vnd.oci.image.index.v1+json";
    const makeIndex = (architecture: string): TestImage => {
      const size = manifestBytes(image);
      const entry = { mediaType: "application/vnd.oci.image.manifest.v1+json", digest: image.digest, size };
      const manifests = [{ ...entry, platform: { os: "linux", architecture } }];
      const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests }));
      const digest = digestOf(bytes);
      return { ...image, digest, contents: new Map([...image.contents, [digest, { bytes, mediaType }]]) };
    };
    registry.push("team/app", "here", makeIndex("arm64"));
    registry.push("team/app", "elsewhere", makeIndex("riscv64"));
    const pulling = createControlDevice({ deviceId: "d", folder, platform: { os: "linux", architecture: "arm64" } });
    expect(await pulling.pull(`${registry.host}/team/app:here`)).toMatchObject({ manifestDigest: image.digest });
    await expect(pulling.pull(`${registry.host}/team/app:elsewhere`)).rejects.toMatchObject({
      code: "PLATFORM_MISSING",
    });
  });

  test.each(["Basic", "Bearer"] as const)("answers a %s challenge with its credentials", async (scheme) => {
    registry.auth = { scheme, username: "device", password: "p:w" };
    const reference = registry.push("team/app", "1", buildImage([base]));
    const right = { address: registry.host, username: "device", password: "p:w" };
    await expect(device().pull(reference)).rejects.toMatchObject({ code: "UNAUTHORIZED" });
    await expect(device([{ ...right, password: "x" }]).pull(reference)).rejects.toMatchObject({ code: "UNAUTHORIZED" });
    await expect(device([{ ...right, address: "elsewhere" }]).pull(reference)).rejects.toMatchObject({
      code: "UNAUTHORIZED",
    });
    expect((await device([right]).pull(reference)).layers).toHaveLength(1);
  });
});

describe("what must not get in", () => {
  /** What the store holds, and that no partial file stayed. */
  const stored = (): string[] => {
    expect(readdirSync(join(folder, "ingest"))).toEqual([]);
    return readdirSync(join(folder, "blobs", "sha256")).map((hex) => `sha256:${hex}`);
  };

  test("a layer with the right size and the wrong bytes", async () => {
    const image = buildImage([base]);
    const wrong = Buffer.from(base.blob);
    wrong[20] = (wrong[20] as number) ^ 1;
    const contents = new Map([...image.contents, [base.digest, { bytes: wrong, mediaType: base.mediaType }]]);
    const reference = registry.push("team/app", "1", { ...image, contents });
    await expect(device().pull(reference)).rejects.toMatchObject({ code: "DIGEST_MISMATCH", want: base.digest });
    expect(stored()).not.toContain(base.digest);
  });

  test.each([
    ["shorter", (blob: Buffer) => blob.subarray(0, -1)],
    ["longer", (blob: Buffer) => Buffer.concat([blob, Buffer.from("x")])],
  ])("a layer that is %s than its descriptor says", async (_name, change) => {
    const image = buildImage([base]);
    const contents = new Map([
      ...image.contents,
      [base.digest, { bytes: change(base.blob), mediaType: base.mediaType }],
    ]);
    const reference = registry.push("team/app", "1", { ...image, contents });
    await expect(device().pull(reference)).rejects.toMatchObject({ code: "SIZE_MISMATCH" });
    expect(stored()).not.toContain(base.digest);
  });

  test("a layer whose transfer is cut starts over at the next pull, the other layers stay", async () => {
    const reference = registry.push("team/app", "1", buildImage([base, dependencies]));
    registry.misbehave = (request, response) => {
      if (request.url?.endsWith(dependencies.digest) !== true) return false;
      response.writeHead(200, { "content-length": dependencies.blob.length });
      response.write(dependencies.blob.subarray(0, 20), () => response.destroy());
      return true;
    };
    await expect(device().pull(reference)).rejects.toMatchObject({ code: "UNREACHABLE", retryable: true });
    expect(stored()).toContain(base.digest);
    registry.misbehave = undefined;
    const ranges: unknown[] = [];
    registry.misbehave = (request) => {
      ranges.push(request.headers.range);
      return false;
    };
    const { layers, bytesPulled } = await device().pull(reference);
    expect(layers.map(({ reused }) => reused)).toEqual([true, false]);
    expect(bytesPulled).toBe(dependencies.blob.length);
    expect(ranges).toEqual([undefined]);
  });

  test("a manifest under a digest that is not its own", async () => {
    const image = buildImage([base]);
    const other = buildImage([model]);
    const swapped = other.contents.get(other.digest) as { bytes: Buffer; mediaType: string };
    const reference = registry.push("team/app", "1", { ...image, contents: new Map([[image.digest, swapped]]) });
    await expect(device().pull(reference)).rejects.toMatchObject({ code: "DIGEST_MISMATCH" });
    expect(stored()).toEqual([]);
  });

  test.each([
    ["is not JSON", "{", "MANIFEST_INVALID"],
    ["has no layers", JSON.stringify({ schemaVersion: 2 }), "MANIFEST_INVALID"],
    ["names a digest that is a path", manifestWith({ digest: "sha256:../../x" }), "MANIFEST_INVALID"],
    ["has a layer of unknown media type", manifestWith({ mediaType: "text/plain" }), "MEDIA_TYPE_UNSUPPORTED"],
  ])("a manifest that %s", async (_name, text, code) => {
    const bytes = Buffer.from(text);
    const digest = digestOf(bytes);
    const mediaType = "application/vnd.oci.image.manifest.v1+json";
    const image = { ...buildImage([]), digest, contents: new Map([[digest, { bytes, mediaType }]]) };
    await expect(device().pull(registry.push("team/app", "1", image))).rejects.toMatchObject({ code });
  });

  test("a configuration for another number of layers", async () => {
    const image = buildImage([base, model], {}, { manifest: { layers: [] } });
    await expect(device().pull(registry.push("team/app", "1", image))).rejects.toMatchObject({
      code: "MANIFEST_INVALID",
    });
  });

  test("an image that is not there, and a registry that is not there", async () => {
    await expect(device().pull(`${registry.host}/team/app:9`)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await registry.close();
    await expect(device().pull(`${registry.host}/team/app:9`)).rejects.toMatchObject({
      code: "UNREACHABLE",
      retryable: true,
    });
  });

  test("what an interrupted process left behind is thrown away", async () => {
    const store = openContentStore(folder);
    const endless = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.from("x");
      await new Promise(() => undefined);
    };
    void store.ingest({ digest: base.digest }, endless());
    await expect.poll(() => readdirSync(join(folder, "ingest")), SOON).toHaveLength(1);
    openContentStore(folder);
    expect(stored()).toEqual([]);
  });
});

describe("image references", () => {
  test("are read with Docker's rules", () => {
    const digest = `sha256:${"a".repeat(64)}`;
    expect(parseImageReference("ubuntu")).toEqual({
      registry: "docker.io",
      repository: "library/ubuntu",
      tag: "latest",
    });
    expect(parseImageReference("127.0.0.1:5000/a/b")).toEqual({
      registry: "127.0.0.1:5000",
      repository: "a/b",
      tag: "latest",
    });
    expect(parseImageReference(`fleet.azurecr.io/app:2@${digest}`)).toEqual({
      registry: "fleet.azurecr.io",
      repository: "app",
      tag: "2",
      digest,
    });
  });

  test.each(["", "A/b", "x.io/UPPER", "x.io/a:b:c", "x.io/a@sha256:12", "x.io/../a", "x.io/a b"])(
    "refuses %j",
    (bad) => {
      expect(() => parseImageReference(bad)).toThrow(expect.objectContaining({ code: "REFERENCE_INVALID" }));
    },
  );
});

function manifestWith(change: Record<string, unknown>): string {
  const content = { mediaType: "application/vnd.oci.image.layer.v1.tar", digest: `sha256:${"0".repeat(64)}`, size: 1 };
  return JSON.stringify({ schemaVersion: 2, config: content, layers: [{ ...content, ...change }] });
}
