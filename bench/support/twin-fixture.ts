// The pair of images that rebasing is measured on: three shared layers, a small model, and a re-created twin above it.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { assembleImage } from "../../local/demo/assemble-image.ts";
import { directoriesOf } from "../../local/demo/base-layer.ts";
import { writeLayer, type BuiltLayer, type LayerEntry } from "../../local/demo/layer.ts";
import { APP_FOLDER, planModelLayer } from "../../local/demo/model-layer.ts";
import type { PushableImage } from "../../local/demo/push-image.ts";
import { createFileMaker, createFileSizes } from "./seeded-files.ts";

/** One side of the pair: its layers from the base up, the last two of which the other side does not share. */
interface TwinImage {
  readonly image: PushableImage;
  readonly shared: readonly BuiltLayer[];
  readonly unshared: readonly BuiltLayer[];
}

/** Version 1, which devices hold, and version 2, whose dependency layer differs from 1's in modification times alone. */
export type TwinPair = readonly [TwinImage, TwinImage];

/** Two pairs of the same large layers: `versions` keep the model at one path, `numbered` in a folder per version. */
export interface TwinFixture {
  readonly versions: TwinPair;
  readonly numbered: TwinPair;
  readonly files: number;
}

/** Part of the cache's folder name: raise it whenever the content changes. */
const FORMAT = 3;
const SEED = 20_261_120;
const LEVEL = 6;
const DEPENDENCY_FILES = 12_500;
const DEPENDENCY_BYTES = 216_500_000;
const BASE_LAYERS = [
  { name: "base-system", files: 1_800, bytes: 117_000_000 },
  { name: "base-runtime", files: 900, bytes: 60_000_000 },
  { name: "base-tools", files: 300, bytes: 26_000_000 },
] as const;

/**
 * Reads the fixture from `cacheFolder`, or makes it there first (about ten seconds).
 *
 * Base: 205 MB of tar, 115 MB compressed. Dependencies: 12,500 files, 227 MB of tar, 60 MB compressed; with `scale` 4
 * the same number of files holds four times the bytes.
 */
export async function openTwinFixture(cacheFolder: string, scale: 1 | 4): Promise<TwinFixture> {
  const folder = resolve(cacheFolder, `twin-${FORMAT}-x${scale}`);
  if (!existsSync(folder)) {
    const unfinished = `${folder}.${process.pid}`;
    mkdirSync(unfinished, { recursive: true });
    try {
      writeFileSync(join(unfinished, "layers.json"), JSON.stringify(await writeLayers(unfinished, scale)));
      renameSync(unfinished, folder);
    } finally {
      rmSync(unfinished, { recursive: true, force: true });
    }
  }
  const layers = JSON.parse(readFileSync(join(folder, "layers.json"), "utf8")) as FixtureLayers;
  const here = (layer: BuiltLayer): BuiltLayer => ({ ...layer, file: join(folder, layer.file) });
  const shared = layers.shared.map(here);
  const describe = (version: 1 | 2, models: readonly BuiltLayer[]): TwinImage => {
    const unshared = [models[version - 1], layers.dependencies[version - 1]] as [BuiltLayer, BuiltLayer];
    return describeTwin(version, shared, unshared.map(here));
  };
  return {
    versions: [describe(1, layers.models), describe(2, layers.models)],
    numbered: [describe(1, layers.numberedModels), describe(2, layers.numberedModels)],
    files: DEPENDENCY_FILES,
  };
}

/** All but `shared` hold version 1's layer and version 2's. */
interface FixtureLayers {
  readonly shared: readonly BuiltLayer[];
  readonly models: readonly BuiltLayer[];
  readonly numberedModels: readonly BuiltLayer[];
  readonly dependencies: readonly BuiltLayer[];
}

async function writeLayers(folder: string, scale: number): Promise<FixtureLayers> {
  const makeFile = createFileMaker(SEED);
  const write = async (name: string, entries: Iterable<LayerEntry>): Promise<BuiltLayer> => {
    const file = `${name}.tar.gz`;
    return { ...(await writeLayer(join(folder, file), entries, { level: LEVEL })), file };
  };
  const shared = await Promise.all(
    BASE_LAYERS.map(async ({ name, files, bytes }) => {
      const sizes = createFileSizes(SEED, name, files, bytes);
      return await write(
        name,
        listFiles(makeFile, { folder: `usr/${name}`, sizes, binaryShare: 0.387, mtime: 1_767_600_000 }),
      );
    }),
  );
  const sizes = createFileSizes(SEED, "dependencies", DEPENDENCY_FILES, DEPENDENCY_BYTES * scale);
  const mtimeOf = (version: number): number => 1_770_019_200 + version * 604_800;
  const perVersion = async (write: (version: number) => Promise<BuiltLayer>): Promise<BuiltLayer[]> =>
    await Promise.all([write(1), write(2)]);
  const [models, numberedModels, dependencies] = await Promise.all([
    perVersion((version) =>
      write(`model-${version}`, planModelLayer(SEED, version, mtimeOf(version), "azureml-models/demand-forecast")),
    ),
    perVersion((version) => write(`numbered-model-${version}`, planModelLayer(SEED, version, mtimeOf(version)))),
    perVersion((version) => {
      const tree = {
        folder: "opt/conda/lib/python3.12/site-packages",
        sizes,
        binaryShare: 0.027,
        mtime: mtimeOf(version),
      };
      return write(`dependencies-${version}`, listFiles(makeFile, tree));
    }),
  ]);
  return { shared, models, numberedModels, dependencies };
}

interface Tree {
  readonly folder: string;
  readonly sizes: readonly number[];
  readonly binaryShare: number;
  readonly mtime: number;
}

/** Packages of about 60 files in up to four folders each; times spread over a minute. */
function* listFiles(
  makeFile: ReturnType<typeof createFileMaker>,
  { folder, sizes, binaryShare, mtime }: Tree,
): Generator<LayerEntry> {
  const paths = sizes.map(
    (_, index) => `${folder}/package-${Math.floor(index / 60)}/part-${index % 4}/module-${index}.py`,
  );
  yield* directoriesOf(paths, mtime);
  let offset = 0;
  for (const [index, path] of paths.entries()) {
    const content = makeFile(path, sizes[index] ?? 0, binaryShare, offset);
    offset += content.length;
    yield { path, type: "file", mode: 0o644, mtime: mtime + (index % 60), content };
  }
}

function describeTwin(version: number, shared: readonly BuiltLayer[], unshared: readonly BuiltLayer[]): TwinImage {
  const image = assembleImage({
    created: new Date(1_770_019_200_000 + version * 604_800_000).toISOString(),
    config: {
      Env: ["PATH=/usr/local/bin:/usr/bin:/bin", `MODEL_VERSION=${version}`],
      Cmd: ["/usr/bin/python3", "score.py"],
      WorkingDir: `/${APP_FOLDER}`,
      Labels: { version: String(version) },
    },
    layers: [...shared, ...unshared].map((layer, index) => ({ layer, createdBy: `step ${index + 1}` })),
  });
  return { image, shared, unshared };
}
