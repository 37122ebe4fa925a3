// Compares two loaded images: reads the indexes that are needed, no others, and plans the delta.
import type { KeepFile } from "../../core/image/layer-index.ts";
import type { Descriptor, Platform } from "../../core/image/descriptor.ts";
import type { LayerIndex } from "../../core/image/layer-entry.ts";
import { planRebase, type FilePlan, type RebaseInput } from "../../core/image/plan-rebase.ts";
import { formatReference } from "../../core/image/reference.ts";
import { isSamePlatform } from "../../core/image/platform.ts";
import { countSharedLayers } from "../../core/image/shared-layers.ts";
import type { Registries } from "../../ports/registry.ts";
import { createKeptContents, type KeptContents } from "./kept-contents.ts";
import type { LayerReader } from "./layer-reader.ts";
import { createPaces, type Pace } from "./paces.ts";
import { loadImage, platformMismatch, type LoadedImage } from "./load-image.ts";

/** Two images of one platform. */
export interface ImagePair {
  readonly anchor: LoadedImage;
  readonly candidate: LoadedImage;
  readonly shared: number;
}

/** How files are compared; see `planRebase`. */
export type ComparisonRules = Pick<RebaseInput, "rules" | "readBase">;

/** Two images and the plan that leads from one to the other. */
export interface PlannedPair extends ImagePair {
  readonly plan: FilePlan;
  /** All of the candidate's layers that were indexed, by position. */
  readonly candidateIndexes: ReadonlyMap<number, LayerIndex>;
  readonly kept: KeptContents;
}

/**
 * Loads both images.
 * @throws ImageError PLATFORM_MISMATCH when they are for different platforms
 */
export async function loadPair(
  registries: Registries,
  { anchor: anchorText, candidate: candidateText }: { readonly anchor: string; readonly candidate: string },
  platform: Platform | undefined,
): Promise<ImagePair> {
  const [anchor, candidate] = await Promise.all([
    loadImage(registries, anchorText, platform),
    loadImage(registries, candidateText, platform),
  ]);
  return pairOf(anchor, candidate);
}

/** Pairs two loaded images. @throws ImageError PLATFORM_MISMATCH */
export function pairOf(anchor: LoadedImage, candidate: LoadedImage): ImagePair {
  if (!isSamePlatform(anchor.config.platform, candidate.config.platform))
    throw platformMismatch(formatReference(candidate.reference), candidate.config.platform, anchor.config.platform);
  return { anchor, candidate, shared: countSharedLayers(anchor.manifest.layers, candidate.manifest.layers) };
}

/** Reads indexes, both images at once, shared layers only where the outcome depends on them, and plans. */
export async function planPair(pair: ImagePair, reader: LayerReader, choice: ComparisonRules): Promise<PlannedPair> {
  const { anchor, candidate, shared } = pair;
  const kept = createKeptContents();
  const paces = createPaces();
  const both = new Set(anchor.manifest.layers.map(({ digest }) => digest));
  const lead = (): LayerManner => ({ keep: kept.anchor, pace: paces.lead });
  // A layer that the anchor waits for as well must not wait for the anchor.
  const follow = ({ digest }: Descriptor): LayerManner =>
    both.has(digest) ? { keep: kept.candidate } : { keep: kept.candidate, pace: paces.follow };
  const [anchorLayers, candidateLayers] = await Promise.all([
    readIndexes(anchor, shared, reader, lead).finally(paces.finishLead),
    readIndexes(candidate, shared, reader, follow),
  ]).catch((error: unknown) => {
    paces.stop();
    throw error;
  });
  const base: LayerIndex[] = [];
  for (;;) {
    const outcome = planRebase({ shared, base, anchor: anchorLayers, candidate: candidateLayers, ...choice });
    if (outcome.needs === undefined) {
      const indexes = [...base, ...candidateLayers].map((index, at): [number, LayerIndex] => [
        shared - base.length + at,
        index,
      ]);
      return { ...pair, plan: outcome.plan, candidateIndexes: new Map(indexes), kept };
    }
    base.unshift(await readIndex(candidate, outcome.needs, reader));
  }
}

/** How a layer is read. */
interface LayerManner {
  readonly keep?: KeepFile;
  readonly pace?: Pace;
}

async function readIndexes(
  image: LoadedImage,
  from: number,
  reader: LayerReader,
  mannerOf: (layer: Descriptor) => LayerManner,
): Promise<LayerIndex[]> {
  const indexes: LayerIndex[] = [];
  for (let at = from; at < image.manifest.layers.length; at++)
    indexes.push(await readIndex(image, at, reader, mannerOf));
  return indexes;
}

async function readIndex(
  { repository, manifest }: LoadedImage,
  position: number,
  reader: LayerReader,
  mannerOf: (layer: Descriptor) => LayerManner = () => ({}),
): Promise<LayerIndex> {
  const layer = manifest.layers[position];
  if (layer === undefined) throw new RangeError(`read index: layer ${position} of ${manifest.layers.length}`);
  const { keep, pace } = mannerOf(layer);
  return (await reader.readIndex(repository, layer, keep, pace)).index;
}
