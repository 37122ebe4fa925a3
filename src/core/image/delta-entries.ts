// Lays out the entries of a delta layer: which directories, markers, files and links, in which order.
import type { Difference } from "./compare-overlays.ts";
import { parentOf } from "./entry-path.ts";
import type { FileEntry, LayerIndex } from "./layer-entry.ts";
import { findNode, type Overlay } from "./overlay.ts";

/** A file whose content is taken from the candidate: entry `ordinal` of the tar of its layer `layer`. */
export interface DeltaFile {
  readonly path: string;
  readonly entry: FileEntry;
  readonly layer: number;
  readonly ordinal: number;
}

/** The entries of a delta layer, in the order in which they are written. Paths are byte strings. */
export interface DeltaEntries {
  /** Directories that change, and those above anything shipped, as the candidate has them; parents first. */
  readonly directories: readonly { readonly path: string; readonly entry: FileEntry }[];
  /** Paths to be removed, sorted. */
  readonly whiteouts: readonly string[];
  /** Regular files by layer and ordinal, so that each layer is read once, from front to back. */
  readonly files: readonly DeltaFile[];
  /** Symlinks, devices and fifos, sorted. */
  readonly specials: readonly { readonly path: string; readonly entry: FileEntry }[];
  /** Further names of files and specials above, sorted. */
  readonly links: readonly { readonly path: string; readonly target: string; readonly entry: FileEntry }[];
}

/**
 * Lays out what was decided. `layers` are all layers of the candidate's overlay, the lowest having number `firstLayer`.
 *
 * Every directory above a shipped path is included where the candidate's layers describe it, because some runtimes
 * unpack each layer by itself and would invent mode and owner of a directory that is missing.
 */
export function layOutDelta(
  shipped: readonly Difference[],
  removed: readonly Difference[],
  candidate: Overlay,
  layers: readonly LayerIndex[],
  firstLayer: number,
): DeltaEntries {
  const directories = new Map<string, FileEntry>();
  const inodes = new Map<FileEntry, { layer: number; paths: string[] }>();
  const whiteouts = removed.filter(({ whiteout }) => whiteout).map(({ path }) => path);
  for (const { path, candidate: entry, layer } of shipped) {
    if (entry === undefined) continue;
    if (entry.type === "directory") directories.set(path, entry);
    else if (inodes.has(entry)) inodes.get(entry)?.paths.push(path);
    else inodes.set(entry, { layer, paths: [path] });
  }
  for (const path of [...whiteouts, ...shipped.map(({ path }) => path)]) addParents(path, candidate, directories);

  const ordinals = findOrdinals(inodes, layers, firstLayer);
  const files: DeltaFile[] = [];
  const specials: { path: string; entry: FileEntry }[] = [];
  const links: { path: string; target: string; entry: FileEntry }[] = [];
  for (const [entry, { layer, paths }] of inodes) {
    const [path = "", ...others] = paths.sort();
    if (entry.type === "file") files.push({ path, entry, layer, ordinal: ordinals.get(entry) ?? -1 });
    else specials.push({ path, entry });
    for (const other of others) links.push({ path: other, target: path, entry });
  }
  return {
    directories: [...directories].map(([path, entry]) => ({ path, entry })).sort(byPath),
    whiteouts: whiteouts.sort(),
    files: files.sort((left, right) => left.layer - right.layer || left.ordinal - right.ordinal),
    specials: specials.sort(byPath),
    links: links.sort(byPath),
  };
}

/** Whether a delta has nothing in it. */
export function isEmptyDelta({ directories, whiteouts, files, specials }: DeltaEntries): boolean {
  return directories.length + whiteouts.length + files.length + specials.length === 0;
}

function addParents(path: string, candidate: Overlay, directories: Map<string, FileEntry>): void {
  for (let parent = parentOf(path); parent !== "" && !directories.has(parent); parent = parentOf(parent)) {
    const entry = findNode(candidate.root, parent)?.entry;
    if (entry !== undefined) directories.set(parent, entry);
  }
}

function findOrdinals(
  inodes: ReadonlyMap<FileEntry, { readonly layer: number }>,
  layers: readonly LayerIndex[],
  firstLayer: number,
): ReadonlyMap<FileEntry, number> {
  const ordinals = new Map<FileEntry, number>();
  for (const number of new Set([...inodes.values()].map(({ layer }) => layer))) {
    for (const [ordinal, entry] of layers[number - firstLayer]?.entries.entries() ?? [])
      if (entry.kind === "entry" && inodes.has(entry)) ordinals.set(entry, ordinal);
  }
  return ordinals;
}

function byPath(left: { readonly path: string }, right: { readonly path: string }): number {
  return left.path < right.path ? -1 : 1;
}
