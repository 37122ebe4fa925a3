// Proves that a pushed image equals its candidate, by what the registry hands out and not by what was sent.
import { listUnequalFields } from "../../core/image/image-config.ts";
import { countSharedLayers } from "../../core/image/shared-layers.ts";
import type { Verification } from "../../ports/rebase-engine.ts";
import { pairOf, planPair, type ComparisonRules } from "./compare-images.ts";
import type { LayerReader } from "./layer-reader.ts";
import type { LoadedImage } from "./load-image.ts";
import { boundDifferences, listFileDifferences } from "./summarize.ts";

/** The images to be judged; `result` and `candidate` as read from the registry. */
export interface VerifyInput {
  readonly result: LoadedImage;
  readonly candidate: LoadedImage;
  /** If given, its layers must be the first of `result`, and what stands on them is read anew. */
  readonly anchor?: LoadedImage;
}

/**
 * Compares content, type, mode, owner, links and xattrs of all files, and the configs but for `rootfs` and `history`.
 *
 * Layers whose index the reader has are not read again, since a digest stands for its content; the layers above the
 * anchor's are, and their unpacked digests must be those of the config.
 */
export async function verifyResult(
  { result, candidate, anchor }: VerifyInput,
  reader: LayerReader,
  choice: ComparisonRules,
): Promise<Verification> {
  const differences: string[] = [];
  for (const field of listUnequalFields(result.config, candidate.config)) differences.push(`config ${field} differs`);
  if (anchor !== undefined) differences.push(...(await verifyPrefix(result, anchor, reader)));
  if (result.digest !== candidate.digest) {
    const planned = await planPair(pairOf(result, candidate), reader, choice);
    differences.push(...listFileDifferences(planned));
  }
  return differences.length === 0 ? "exact" : boundDifferences(differences);
}

async function verifyPrefix(result: LoadedImage, anchor: LoadedImage, reader: LayerReader): Promise<string[]> {
  const below = anchor.manifest.layers;
  const { layers } = result.manifest;
  if (countSharedLayers(layers, below) < below.length) return ["the anchor's layers are not the first of the result"];
  const differences: string[] = [];
  for (const [position, diffId] of result.config.diffIds.entries()) {
    const layer = layers[position];
    if (layer === undefined) continue;
    const expected = anchor.config.diffIds[position] ?? (await reader.readAnew(result.repository, layer)).diffId;
    if (diffId !== expected) differences.push(`diff_id of layer ${position} is ${diffId}, not ${expected}`);
  }
  return differences;
}
