// The large layer that only pretends to change: installed packages and seeded libraries, re-created on every build.
import { readdirSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { directoriesOf } from "./base-layer.ts";
import { DemoImageError } from "./demo-image-error.ts";
import { measureLayer, type LayerEntry } from "./layer.ts";
import { createSeededBytes } from "./seeded-bytes.ts";

/** Where the image keeps its dependencies, as a conda environment would. */
const ENVIRONMENT = "opt/conda/lib";

/** What one top-up library weighs at most, in bytes; they do not compress. */
const LIBRARY_BYTES = 1 << 20;

/** Larger installed files are the machine's own binaries, which differ from platform to platform. */
const LARGEST_FILE = 1 << 20;

/** What the dependency layer of every version holds: which real files, and how many seeded bytes beside them. */
export interface Dependencies {
  readonly folder: string;
  /** Paths relative to `folder` with their sizes in bytes. */
  readonly files: readonly { readonly path: string; readonly size: number }[];
  readonly topUpBytes: number;
}

/** How large the layer is to be: real files, compressed bytes, and the compression level that those are counted at. */
export interface DependencyTarget {
  readonly files: number;
  readonly compressedBytes: number;
  readonly level: number;
}

/**
 * Chooses the first `files` files of the installed packages by path, and the seeded bytes that fill the layer up to
 * `compressedBytes`.
 * @throws DemoImageError TOO_FEW_FILES when the folder holds fewer files
 */
export async function planDependencies(nodeModulesFolder: string, target: DependencyTarget): Promise<Dependencies> {
  const files = listFiles(nodeModulesFolder, target.files);
  if (files.length < target.files) {
    throw new DemoImageError("TOO_FEW_FILES", {
      operation: "fill dependency layer from",
      subject: nodeModulesFolder,
      got: `${files.length} files`,
      want: `${target.files}`,
    });
  }
  const real = { folder: nodeModulesFolder, files, topUpBytes: 0 };
  const realBytes = await measureLayer(listDependencyEntries(0, real, 0), { level: target.level });
  return { ...real, topUpBytes: Math.max(0, target.compressedBytes - realBytes) };
}

/**
 * The layer's entries, read from disk as they are asked for. Content depends on `dependencies` and `seed` alone; only
 * modification times follow `mtime` (seconds), spread over the minute in which an environment is solved.
 */
export function* listDependencyEntries(seed: number, dependencies: Dependencies, mtime: number): Generator<LayerEntry> {
  const { folder, files, topUpBytes } = dependencies;
  const libraries = Array.from({ length: Math.ceil(topUpBytes / LIBRARY_BYTES) }, (_, index) => ({
    path: `${ENVIRONMENT}/libseeded-${String(index).padStart(3, "0")}.so`,
    size: Math.min(LIBRARY_BYTES, topUpBytes - index * LIBRARY_BYTES),
  }));
  const installed = files.map(({ path, size }) => ({
    path: `${ENVIRONMENT}/node_modules/${path}`,
    source: join(folder, path),
    size,
  }));
  yield* directoriesOf(
    [...installed, ...libraries].map(({ path }) => path),
    mtime,
  );
  for (const [index, { path, source, size }] of installed.entries()) {
    yield { path, type: "file", mode: 0o644, mtime: mtime + (index % 60), source, size };
  }
  for (const { path, size } of libraries) {
    yield { path, type: "file", mode: 0o755, mtime: mtime + 60, content: createSeededBytes(seed, path, size) };
  }
}

/** The first `limit` regular files below `root`, folder by folder in code-unit order; hidden folders are tools' own. */
function listFiles(root: string, limit: number): { path: string; size: number }[] {
  const found: { path: string; size: number }[] = [];
  const visit = (folder: string): void => {
    const entries = readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const entry of entries) {
      if (found.length >= limit) return;
      const path = join(folder, entry.name);
      if (entry.isDirectory() && !entry.name.startsWith(".")) visit(path);
      if (!entry.isFile()) continue;
      const { size } = statSync(path);
      if (size > 0 && size <= LARGEST_FILE) found.push({ path: relative(root, path), size });
    }
  };
  visit(root);
  return found;
}
