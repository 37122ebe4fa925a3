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
export interface TwinImage {
  readonly image: PushableImage;
  readonly shared: readonly BuiltLayer[];
  readonly unshared: readonly BuiltLayer[];
}

/** Version 1, which devices hold, and version 2, whose dependency layer differs from 1's in modification times alone. */
export interface TwinFixture {
  readonly versions: readonly [TwinImage, TwinImage];
  readonly files: number;
}

/** Part of the cache's folder name: raise it whenever the content changes. */
const FORMAT = 1;
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
  const [one, two] = layers.versions;
  return {
    versions: [describeTwin(1, shared, one.map(here)), describeTwin(2, shared, two.map(here))],
    files: DEPENDENCY_FILES,
  };
}

interface FixtureLayers {
  readonly shared: readonly BuiltLayer[];
  readonly versions: readonly [readonly BuiltLayer[], readonly BuiltLayer[]];
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
  const side = async (version: number): Promise<BuiltLayer[]> => {
    const mtime = 1_770_019_200 + version * 604_800;
    const dependencies = { folder: "opt/conda/lib/python3.12/site-packages", sizes, binaryShare: 0.027, mtime };
    return await Promise.all([
      write(`model-${version}`, planModelLayer(SEED, version, mtime)),
      write(`dependencies-${version}`, listFiles(makeFile, dependencies)),
    ]);
  };
  return { shared, versions: await Promise.all([side(1), side(2)]) };
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
