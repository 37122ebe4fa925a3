// Builds the demo's images the way Azure ML does: base, then the model and its script, then re-created dependencies.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { assembleImage } from "./assemble-image.ts";
import { NODE_PATH, planBaseLayer } from "./base-layer.ts";
import { listDependencyEntries, planDependencies } from "./dependency-layer.ts";
import { writeLayer, type BuiltLayer, type LayerEntry } from "./layer.ts";
import { APP_FOLDER, modelFolder, planModelLayer } from "./model-layer.ts";
import { pushImage, type PushableImage } from "./push-image.ts";

/** 1 is what the fleet runs, 2 brings a new model and script, 3 starts and exits with code 1. */
export type DemoVersion = 1 | 2 | 3;

/** What goes on, e.g. `{step: "compress dependencies of version 2", done: 12_000_000, total: 90_000_000}` in bytes. */
export interface DemoProgress {
  readonly step: string;
  readonly done: number;
  readonly total: number;
}

/** How to build: `folder` takes the layers' files, `nodeModulesFolder` is where real dependencies are found. */
export interface DemoImageOptions {
  readonly folder: string;
  readonly nodeModulesFolder: string;
  readonly seed: number;
  /** Real files in the dependency layer; 10,500 unless told. */
  readonly dependencyFiles?: number;
  /** The dependency layer's compressed size; 60 MB unless told. */
  readonly dependencyBytes?: number;
  /** Which versions to build; all unless told. */
  readonly versions?: readonly DemoVersion[];
  readonly onProgress?: (progress: DemoProgress) => void;
}

/** A built version: its layers from the base up, and what a registry needs of it. */
export interface DemoImage extends PushableImage {
  readonly version: DemoVersion;
  readonly layers: { readonly base: BuiltLayer; readonly model: BuiltLayer; readonly dependencies: BuiltLayer };
}

/** A version in a registry; `uploadedBytes` counts the blobs that it did not hold yet. */
interface PushedDemoImage {
  readonly tag: string;
  readonly digest: string;
  readonly uploadedBytes: number;
}

/** The built versions, which stay in the folder until whoever made it removes it. */
export interface DemoImages {
  readonly images: readonly DemoImage[];
  /** Pushes one version to a registry under its number as the tag. */
  push(version: DemoVersion, target: { registryUrl: string; repository: string }): Promise<PushedDemoImage>;
}

/** Half the bytes are incompressible, so that higher levels gain 3 % and take twice as long. */
const LEVEL = 1;

/** Builds the versions asked for; same seed, Node and installed packages: same digests. */
export async function buildDemoImages(options: DemoImageOptions): Promise<DemoImages> {
  const { folder, seed, onProgress, versions = [1, 2, 3] } = options;
  mkdirSync(folder, { recursive: true });
  const write = async (name: string, entries: Iterable<LayerEntry>, total: number): Promise<BuiltLayer> =>
    await writeLayer(join(folder, `${name.replaceAll(" ", "-")}.tar.gz`), entries, {
      level: LEVEL,
      onBytes: (done) => onProgress?.({ step: `build ${name}`, done: Math.min(done, total), total }),
    });

  const baseEntries = planBaseLayer();
  const [base, dependencies] = await Promise.all([
    write("base", baseEntries, contentBytes(baseEntries)),
    planDependencies(options.nodeModulesFolder, {
      files: options.dependencyFiles ?? 10_500,
      compressedBytes: options.dependencyBytes ?? 60_000_000,
      level: LEVEL,
    }),
  ]);
  const total = dependencies.files.reduce((sum, { size }) => sum + size, dependencies.topUpBytes);
  const images = await Promise.all(
    versions.map(async (version) => {
      const mtime = buildTime(version);
      const [model, top] = await Promise.all([
        write(`model ${version}`, planModelLayer(seed, version, mtime), 8_192),
        write(`dependencies ${version}`, listDependencyEntries(seed, dependencies, mtime), total),
      ]);
      return describeImage(version, { base, model, dependencies: top });
    }),
  );

  return {
    images,
    async push(version, { registryUrl, repository }) {
      const image = images.find((candidate) => candidate.version === version);
      if (image === undefined) throw new RangeError(`version ${version} was not built`);
      const tag = String(version);
      const total = image.blobs.reduce((sum, { size }) => sum + size, 0);
      const uploadedBytes = await pushImage(image, {
        registryUrl,
        repository,
        tag,
        onBytes: (done) => onProgress?.({ step: `push ${repository}:${tag}`, done, total }),
      });
      return { tag, digest: image.digest, uploadedBytes };
    },
  };
}

/** When a version was built, in seconds: one a week, Mondays from 2026-02-02T08:00:00Z. */
function buildTime(version: DemoVersion): number {
  return Date.UTC(2026, 1, 2 + (version - 1) * 7, 8) / 1000;
}

function contentBytes(entries: readonly LayerEntry[]): number {
  return entries.reduce((sum, entry) => sum + ("size" in entry ? entry.size : 512), 0);
}

function describeImage(version: DemoVersion, layers: DemoImage["layers"]): DemoImage {
  const config = {
    Env: [
      "PATH=/usr/local/bin:/usr/bin:/bin",
      `AZUREML_MODEL_DIR=${modelFolder(version)}`,
      "NODE_PATH=/opt/conda/lib/node_modules",
    ],
    Entrypoint: [NODE_PATH, "score.mjs"],
    WorkingDir: `/${APP_FOLDER}`,
    Labels: { "com.azureml.model": `demand-forecast:${version}`, "org.opencontainers.image.version": `${version}.0.0` },
  };
  const created = new Date(buildTime(version) * 1000).toISOString();
  const image = assembleImage({
    created,
    config,
    layers: [
      { layer: layers.base, createdBy: "ADD base /" },
      { layer: layers.model, createdBy: `COPY azureml-app /${APP_FOLDER}` },
      { layer: layers.dependencies, createdBy: "RUN conda env create -p /opt/conda" },
    ],
  });
  return { ...image, version, layers };
}
