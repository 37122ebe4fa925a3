// Finds files that an image ships and nobody ever sees: overwritten or deleted by a later layer of the same image.
import { displayPath, parentOf } from "../entry-path.ts";
import type { LayerIndex } from "../layer-entry.ts";
import { findNode, stackLayers } from "../overlay.ts";

/** Files of one layer that another one hides. */
export interface HiddenFiles {
  /** Positions from 1 at the bottom. */
  readonly layer: number;
  readonly byLayer: number;
  /** `repeated` files have the same content in both layers: only mode, owner or time differ. */
  readonly kind: "repeated" | "overwritten" | "deleted";
  readonly files: number;
  /** Their content in bytes, before compression. */
  readonly bytes: number;
  /** The largest of them. */
  readonly example: string;
}

/** Lists what is hidden in an image's layers, bottom first, most bytes first. */
export function listHiddenFiles(layers: readonly LayerIndex[]): readonly HiddenFiles[] {
  const { root } = stackLayers(layers, { complete: true });
  const removers = listRemovers(layers);
  const found = new Map<string, HiddenFiles & { largest: number }>();
  for (const [at, { entries }] of layers.entries()) {
    for (const entry of entries) {
      if (entry.kind !== "entry" || entry.type !== "file" || entry.size === 0) continue;
      const node = findNode(root, entry.path);
      if (node?.entry === entry) continue;
      const isThere = node?.entry?.type === "file" && node.layer > at;
      const byLayer = isThere ? node.layer : findRemover(removers, entry.path, at);
      if (byLayer === undefined) continue;
      const isSame = isThere && node.entry?.sha256 === entry.sha256;
      const kind = !isThere ? "deleted" : isSame ? "repeated" : "overwritten";
      const key = `${at} ${byLayer} ${kind}`;
      const known = found.get(key) ?? {
        layer: at + 1,
        byLayer: byLayer + 1,
        kind,
        files: 0,
        bytes: 0,
        example: "",
        largest: 0,
      };
      const isLarger = entry.size > known.largest;
      found.set(key, {
        ...known,
        files: known.files + 1,
        bytes: known.bytes + entry.size,
        example: isLarger ? displayPath(entry.path) : known.example,
        largest: Math.max(known.largest, entry.size),
      });
    }
  }
  return [...found.values()]
    .map(({ largest: _largest, ...facts }) => facts)
    .sort((left, right) => right.bytes - left.bytes || left.layer - right.layer);
}

/** Which layers remove or replace what lies at, or beneath, a path. */
function listRemovers(layers: readonly LayerIndex[]): ReadonlyMap<string, readonly number[]> {
  const removers = new Map<string, number[]>();
  for (const [at, { entries }] of layers.entries()) {
    for (const entry of entries) {
      if (entry.kind === "bookkeeping" || (entry.kind === "entry" && entry.type === "directory")) continue;
      const known = removers.get(entry.path);
      if (known === undefined) removers.set(entry.path, [at]);
      else known.push(at);
    }
  }
  return removers;
}

function findRemover(
  removers: ReadonlyMap<string, readonly number[]>,
  path: string,
  above: number,
): number | undefined {
  for (let at = path; ; at = parentOf(at)) {
    const layer = removers.get(at)?.find((remover) => remover > above);
    if (layer !== undefined || at === "") return layer;
  }
}
