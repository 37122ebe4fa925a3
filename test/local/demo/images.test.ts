// The demo's images: their layout, determinism and twins, read back by tar and by the program they hold.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { gunzipSync } from "node:zlib";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildDemoImages, type DemoImage, type DemoImages, type DemoProgress } from "../../../local/demo/images.ts";

const root = resolve(import.meta.dirname, "../../..");
const nodeModulesFolder = join(root, "node_modules", "@azure");
const FILES = 300;
const BYTES = 3_000_000;

const folder = mkdtempSync(join(tmpdir(), "demo-images-"));
const steps: DemoProgress[] = [];
let built: DemoImages;

beforeAll(async () => {
  built = await buildDemoImages({
    folder: join(folder, "a"),
    nodeModulesFolder,
    seed: 7,
    dependencyFiles: FILES,
    dependencyBytes: BYTES,
    onProgress: (progress) => steps.push(progress),
  });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const image = (version: number): DemoImage => {
  const found = built.images.find((candidate) => candidate.version === version);
  if (found === undefined) throw new Error(`version ${version} is missing`);
  return found;
};
const sha256 = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const listTar = (file: string, ...flags: string[]): string[] =>
  execFileSync("tar", ["tzf", file, ...flags], {
    encoding: "utf8",
    env: { ...process.env, TZ: "UTC" },
    maxBuffer: 1 << 28,
  })
    .trimEnd()
    .split("\n");
const configOf = (version: number): { config: Record<string, unknown>; rootfs: { diff_ids: string[] } } => {
  const content = image(version).blobs[0]?.content;
  return JSON.parse(Buffer.from(content as Uint8Array).toString()) as ReturnType<typeof configOf>;
};

/** Unpacks a version with GNU tar, layer over layer, as an engine would; the demo's images have no whiteouts. */
function unpack(version: number): string {
  const rootfs = join(folder, `rootfs-${version}`);
  mkdirSync(rootfs);
  const { base, model, dependencies } = image(version).layers;
  for (const { file } of [base, model, dependencies])
    execFileSync("tar", ["xzf", file, "-C", rootfs, "--no-same-owner"]);
  return rootfs;
}

function startEntrypoint(version: number): ReturnType<typeof spawn> {
  const rootfs = unpack(version);
  const { Entrypoint, Env, WorkingDir } = configOf(version).config as Record<string, string[]> & { WorkingDir: string };
  const [program = "", ...args] = Entrypoint ?? [];
  const env = Object.fromEntries((Env ?? []).map((line) => line.split(/=(.*)/s).slice(0, 2) as [string, string]));
  return spawn(join(rootfs, program), args, { cwd: join(rootfs, WorkingDir), env, stdio: ["ignore", "pipe", "pipe"] });
}

describe("demo images", () => {
  test("put the model and its script below the dependencies", () => {
    const { layers, manifest } = image(2);
    const parsed = JSON.parse(Buffer.from(manifest).toString()) as { layers: { digest: string; size: number }[] };
    expect(parsed.layers.map(({ digest }) => digest)).toEqual([
      layers.base.digest,
      layers.model.digest,
      layers.dependencies.digest,
    ]);
    expect(listTar(layers.base.file)).toContain("usr/local/bin/node");
    expect(listTar(layers.model.file).filter((path) => !path.endsWith("/"))).toEqual([
      "var/azureml-app/azureml-models/demand-forecast/2/model.pkl",
      "var/azureml-app/score.mjs",
    ]);
    const dependencies = listTar(layers.dependencies.file);
    expect(
      dependencies.filter((path) => path.startsWith("opt/conda/lib/node_modules/") && !path.endsWith("/")),
    ).toHaveLength(FILES);
    expect(dependencies.length).toBe(layers.dependencies.entries);
  });

  test("reach the size asked for with seeded files", () => {
    for (const { layers } of built.images) {
      expect(layers.dependencies.size).toBeGreaterThan(BYTES * 0.99);
      expect(layers.dependencies.size).toBeLessThan(BYTES * 1.02);
    }
  });

  test("carry a 6 KB model in a layer of a few kilobytes", () => {
    const model = execFileSync("tar", ["xzOf", image(1).layers.model.file, "--wildcards", "*.pkl"]);
    expect(model.length).toBeGreaterThan(6_000);
    expect(model.length).toBeLessThan(6_300);
    expect(image(1).layers.model.size).toBeLessThan(5_000);
  });

  test("describe every blob by its true digest, size and diff id", () => {
    const { layers, blobs, manifest, digest } = image(3);
    const ordered = [layers.base, layers.model, layers.dependencies];
    for (const layer of ordered) {
      const bytes = readFileSync(layer.file);
      expect([sha256(bytes), bytes.length]).toEqual([layer.digest, layer.size]);
      const tar = gunzipSync(bytes);
      expect([sha256(tar), tar.length]).toEqual([layer.diffId, layer.tarSize]);
    }
    expect(configOf(3).rootfs.diff_ids).toEqual(ordered.map(({ diffId }) => diffId));
    expect(blobs.map((blob) => blob.digest).slice(1)).toEqual(ordered.map((layer) => layer.digest));
    expect(sha256(manifest)).toBe(digest);
  });

  test("share the base, and nothing else", () => {
    const layersOf = (version: number): string[] => image(version).blobs.map(({ digest }) => digest);
    expect(layersOf(1).filter((digest) => layersOf(2).includes(digest))).toEqual([image(1).layers.base.digest]);
    expect(layersOf(2).filter((digest) => layersOf(3).includes(digest))).toEqual([image(1).layers.base.digest]);
  });

  test("differ in the dependency layer by modification times alone", () => {
    const tars = [1, 2].map((version) => gunzipSync(readFileSync(image(version).layers.dependencies.file)));
    const [one, two] = tars as [Buffer, Buffer];
    const strip = (tar: Buffer): Buffer => {
      const copy = Buffer.from(tar);
      for (let at = 0; at < copy.length - 1024;) {
        const size = Number.parseInt(copy.toString("latin1", at + 124, at + 136), 8);
        copy.fill(0, at + 136, at + 156); // mtime and the checksum that covers it
        at += 512 + Math.ceil(size / 512) * 512;
      }
      return copy;
    };
    expect(one.equals(two)).toBe(false);
    expect(strip(one).equals(strip(two))).toBe(true);
    const times = (version: number): string[] =>
      listTar(image(version).layers.dependencies.file, "-v").map((line) => line.split(/\s+/)[3] ?? "");
    expect(new Set(times(1))).toEqual(new Set(["2026-02-02"]));
    expect(new Set(times(2))).toEqual(new Set(["2026-02-09"]));
  });

  test("come out the same for the same seed and differ for another", async () => {
    const rebuild = async (name: string, seed: number): Promise<DemoImage | undefined> =>
      (
        await buildDemoImages({
          folder: join(folder, name),
          nodeModulesFolder,
          seed,
          dependencyFiles: FILES,
          dependencyBytes: BYTES,
          versions: [2],
        })
      ).images[0];
    const [same, other] = [await rebuild("b", 7), await rebuild("c", 8)];
    expect(same?.digest).toBe(image(2).digest);
    expect(other?.layers.base.digest).toBe(image(2).layers.base.digest);
    expect(other?.layers.model.digest).not.toBe(image(2).layers.model.digest);
    expect(other?.layers.dependencies.diffId).not.toBe(image(2).layers.dependencies.diffId);
  });

  test("refuse a folder with too few installed files", async () => {
    const empty = join(folder, "empty");
    mkdirSync(empty);
    const build = buildDemoImages({ folder: join(folder, "d"), nodeModulesFolder: empty, seed: 1, dependencyFiles: 5 });
    await expect(build).rejects.toMatchObject({
      name: "DemoImageError",
      code: "TOO_FEW_FILES",
      got: "0 files",
      want: "5",
    });
  });

  test("report progress of every step up to its end", () => {
    const names = [...new Set(steps.map(({ step }) => step))].sort();
    expect(names).toEqual([
      "build base",
      ...[1, 2, 3].map((version) => `build dependencies ${version}`),
      ...[1, 2, 3].map((version) => `build model ${version}`),
    ]);
    for (const name of names) {
      const own = steps.filter(({ step }) => step === name);
      expect(own.at(-1)?.done).toBe(own.at(-1)?.total);
      expect(own.map(({ done }) => done)).toEqual(own.map(({ done }) => done).sort((a, b) => a - b));
    }
  });
});

describe("a demo image's entrypoint, from an unpacked root", () => {
  test.each([1, 2])("loads the model of version %i, says so, stays up and stops with 0", async (version) => {
    const child = startEntrypoint(version);
    const exited = once(child, "exit");
    const [line] = (await once(createInterface(child.stdout as NodeJS.ReadableStream), "line")) as [string];
    const pickle = join(
      folder,
      `rootfs-${version}`,
      `var/azureml-app/azureml-models/demand-forecast/${version}/model.pkl`,
    );
    expect(JSON.parse(line)).toMatchObject({
      script: version,
      model: "demand-forecast",
      version,
      coefficients: 676,
      sha256: sha256(readFileSync(pickle)).slice("sha256:".length),
    });
    expect(statSync(pickle).size).toBeLessThan(6_300);
    expect(child.exitCode).toBeNull();
    child.kill("SIGTERM");
    expect(await exited).toEqual([0, null]);
  });

  test("exits with 1 in version 3, because its model lacks what its script expects", async () => {
    const child = startEntrypoint(3);
    const errors: Buffer[] = [];
    child.stderr?.on("data", (chunk: Buffer) => errors.push(chunk));
    expect(await once(child, "close")).toEqual([1, null]);
    expect(Buffer.concat(errors).toString()).toContain("model.scaler.mean");
  });
});
