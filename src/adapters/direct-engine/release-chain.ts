// Releases images one after the other, each onto what the one before left on devices, without pushing anything.
import type { ContentRules } from "../../core/image/content-rules.ts";
import { isEmptyDelta } from "../../core/image/delta-entries.ts";
import { indexDelta } from "../../core/image/delta-index.ts";
import type { Digest } from "../../core/image/descriptor.ts";
import { digestOf } from "../../core/image/digest.ts";
import { parseConfig } from "../../core/image/image-config.ts";
import { OCI_LAYER_GZIP } from "../../core/image/media-types.ts";
import { formatReference } from "../../core/image/reference.ts";
import { countMissingBytes } from "../../core/image/shared-layers.ts";
import type { LayerIndex } from "../../core/image/layer-entry.ts";
import { isLighterError } from "../../core/errors.ts";
import type { MeasuredPush } from "../../ports/push-history.ts";
import { buildDelta, type BuiltDelta } from "./build-delta.ts";
import { pairOf, planPair, type ImagePair, type PlannedPair } from "./compare-images.ts";
import { createLayerReader, type LayerReader, type LayerReaderOptions } from "./layer-reader.ts";
import type { LoadedImage } from "./load-image.ts";
import { composeImage, type ComposedImage } from "./push-result.ts";
import { draftAtOnce, draftPlanned, estimateDelta, type Draft } from "./summarize.ts";

/** Deltas with more content than this are not built but estimated. */
const MAX_BUILT_BYTES = 256 * 1024 * 1024;

/** What one release of a chain comes to. */
type Measurement = Pick<MeasuredPush, "outcome" | "reason" | "bytes" | "files" | "drift" | "config">;

/** A device's image over time. */
export interface ReleaseChain {
  /**
   * Compares, and takes the candidate for released. A candidate that cannot be read throws and leaves the chain as it is.
   * @throws ImageError, RegistryError
   */
  release(candidate: LoadedImage): Promise<Measurement>;
  /** Reads of the image that devices hold what a comparison with `candidate` needs. @throws ImageError, RegistryError */
  readHeld(candidate: LoadedImage): Promise<void>;
}

/** Starts a chain at devices that hold `start`. */
export function createReleaseChain(
  start: LoadedImage,
  options: LayerReaderOptions & { readonly rules?: ContentRules },
): ReleaseChain {
  const { rules = {} } = options;
  const known = new Map<Digest, LayerIndex>();
  /** What devices hold where candidates are rebased, and where they are pulled as they are. */
  let held = start;
  let previous = start;

  const weighWhole = ({ manifest, manifestBytes }: LoadedImage): number =>
    manifestBytes +
    countMissingBytes([...manifest.layers, manifest.config], [...previous.manifest.layers, previous.manifest.config]);

  const releaseDelta = async (planned: PlannedPair, reader: LayerReader): Promise<Released> => {
    const { plan, candidate } = planned;
    const estimated = plan.contentBytes > MAX_BUILT_BYTES;
    const empty = isEmptyDelta(plan.delta);
    const deltas = empty ? [] : [estimated ? imagineDelta(planned) : await buildDelta(planned, reader)];
    const image = composeImage(planned, deltas);
    for (const { descriptor } of deltas) known.set(descriptor.digest, indexDelta(plan.delta));
    const size = deltas.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
    const bytes = size + image.config.length + image.manifestBytes.length;
    return { held: toLoadedImage(image, candidate), bytes, estimated };
  };

  const decide = async (pair: ImagePair): Promise<{ readonly draft: Draft; readonly released: Released }> => {
    const { candidate } = pair;
    const whole = (draft: Draft, reason: string): { draft: Draft; released: Released } => ({
      draft: { ...draft, outcome: "full", reason },
      released: { held: candidate, bytes: draft.fullBytes, estimated: false },
    });
    const early = draftAtOnce(pair);
    if (early?.outcome === "full") return whole(early, early.reason);
    const reader = createLayerReader({ ...options, known });
    const planned = early === undefined ? await planPair(pair, reader, { rules }) : undefined;
    const draft = planned === undefined ? (early as Draft) : draftPlanned(planned);
    if (planned === undefined || draft.outcome !== "rebase")
      return { draft, released: { held, bytes: 0, estimated: false } };
    try {
      const released = await releaseDelta(planned, reader);
      if (released.bytes < draft.fullBytes) return { draft, released };
      return whole(draft, `${draft.reason}; a delta would be no smaller than the whole image`);
    } catch (error) {
      if (!isLighterError(error, "LAYER_LIMIT_REACHED")) throw error;
      return whole(draft, `${draft.reason}; the image on devices has as many layers as runtimes mount`);
    }
  };

  return {
    async release(candidate) {
      const { draft, released } = await decide(pairOf(held, candidate));
      const bytes = { full: weighWhole(candidate), delta: released.bytes, estimated: released.estimated };
      held = released.held;
      previous = candidate;
      const { outcome, reason, files, drift, config } = draft;
      return { outcome, reason, bytes, files, drift, config };
    },
    async readHeld(candidate) {
      const { anchor, shared } = pairOf(held, candidate);
      const reader = createLayerReader({ ...options, known });
      for (const layer of anchor.manifest.layers.slice(shared)) await reader.readIndex(anchor.repository, layer);
    },
  };
}

/** What devices hold after a release and what each of them downloaded for it. */
interface Released {
  readonly held: LoadedImage;
  readonly bytes: number;
  readonly estimated: boolean;
}

/** Stands in for a delta that is too large to be built; its digest names the pair it leads from and to. */
function imagineDelta(planned: PlannedPair): BuiltDelta {
  const digest = digestOf(Buffer.from(`${planned.anchor.digest} ${planned.candidate.digest}`));
  const descriptor = { mediaType: OCI_LAYER_GZIP, digest, size: estimateDelta(planned) };
  return { descriptor, diffId: digest, open: () => new Uint8Array() };
}

/** The composed image as it would be loaded, had it been pushed. */
function toLoadedImage({ config, manifest, manifestBytes }: ComposedImage, candidate: LoadedImage): LoadedImage {
  const { reference, repository } = candidate;
  return {
    reference,
    repository,
    digest: digestOf(manifestBytes),
    manifestBytes: manifestBytes.length,
    manifest,
    config: parseConfig(config, manifest.layers.length, formatReference(reference)),
  };
}
