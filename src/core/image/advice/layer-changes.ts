// Follows the layers of one image into the next: which were taken over, built anew without need, or really changed.
import type { ContentRules } from "../content-rules.ts";
import { isEmptyDelta } from "../delta-entries.ts";
import { ImageError } from "../image-error.ts";
import type { LayerIndex, MarkerEntry } from "../layer-entry.ts";
import { planRebase, type FilePlan } from "../plan-rebase.ts";
import { listInstructions, type IndexedImage, type Instruction } from "./instructions.ts";

/** What became of a layer since the push before: `same` digest, `rebuilt` with equal content, `changed`, or `new`. */
export type LayerFate = "same" | "rebuilt" | "changed" | "new";

/** A layer's fate in one push. */
export interface LayerChange {
  readonly fate: LayerFate;
  /** Bytes of the layer as devices download it. */
  readonly size: number;
  /** Of a changed layer: files that differ from its predecessor's, and the bytes of those that do not. */
  readonly changedFiles: number;
  readonly unchangedBytes: number;
  /** Of a rebuilt layer: why its digest differs all the same. */
  readonly ignored: FilePlan["files"]["ignored"];
}

const NOTHING: Omit<LayerChange, "fate" | "size"> = {
  changedFiles: 0,
  unchangedBytes: 0,
  ignored: { mtimeOnly: 0, pyc: 0, volatile: 0 },
};

/**
 * The fates of the layers of `image`, bottom first. A layer's predecessor is the one that the same instruction made, or
 * where nobody knows a better one, that of the same height.
 */
export function followLayers(earlier: IndexedImage, image: IndexedImage, rules: ContentRules): readonly LayerChange[] {
  const held = new Set(earlier.layers.map(({ descriptor }) => descriptor.digest));
  const predecessors = findPredecessors(earlier, image);
  return image.layers.map(({ descriptor: { digest, size }, index }, at): LayerChange => {
    if (held.has(digest)) return { ...NOTHING, fate: "same", size };
    const old = earlier.layers[predecessors.get(at) ?? -1]?.index;
    return old === undefined ? { ...NOTHING, fate: "new", size } : { ...compareLayers(old, index, rules), size };
  });
}

/** Positions of predecessors, each of which has one successor at most, by the positions of those. */
function findPredecessors(earlier: IndexedImage, image: IndexedImage): ReadonlyMap<number, number> {
  const before = listInstructions(earlier);
  const after = listInstructions(image);
  const found = new Map<number, number>();
  const taken = new Set<number>();
  const match = (isSuccessor: (one: Instruction, other: Instruction) => boolean): void => {
    for (const [at, step] of after.entries()) {
      if (found.has(at)) continue;
      const from = before.findIndex((other, position) => !taken.has(position) && isSuccessor(step, other));
      if (from === -1) continue;
      found.set(at, from);
      taken.add(from);
    }
  };
  match((step, other) => step.digest === other.digest);
  match((step, other) => step.createdBy !== "unknown" && step.createdBy === other.createdBy);
  match((step, other) => step.layer === other.layer);
  return found;
}

function compareLayers(old: LayerIndex, index: LayerIndex, rules: ContentRules): Omit<LayerChange, "size"> {
  const plan = planAlone(old, index, rules);
  if (plan === undefined) return { ...NOTHING, fate: "changed" };
  const isEqual = isEmptyDelta(plan.delta) && markersOf(old) === markersOf(index);
  if (isEqual) return { ...NOTHING, fate: "rebuilt", ignored: plan.files.ignored };
  const { added, changed, removed } = plan.files;
  const bytes = index.entries.reduce((sum, entry) => sum + (entry.kind === "entry" ? entry.size : 0), 0);
  const changedFiles = added + changed + removed;
  return { ...NOTHING, fate: "changed", changedFiles, unchangedBytes: Math.max(0, bytes - plan.contentBytes) };
}

/** Compares two layers as if they were all of an image; undefined where a hard link leads out of a layer. */
function planAlone(old: LayerIndex, index: LayerIndex, rules: ContentRules): FilePlan | undefined {
  try {
    const outcome = planRebase({ shared: 0, base: [], anchor: [old], candidate: [index], rules });
    return outcome.needs === undefined ? outcome.plan : undefined;
  } catch (error) {
    if (error instanceof ImageError && error.code === "LINK_DANGLING") return undefined;
    throw error;
  }
}

function markersOf({ entries }: LayerIndex): string {
  const markers = entries.filter((entry): entry is MarkerEntry => entry.kind !== "entry");
  return markers
    .map(({ kind, path }) => `${kind} ${path}`)
    .sort((left, right) => (left < right ? -1 : 1))
    .join("\0");
}
