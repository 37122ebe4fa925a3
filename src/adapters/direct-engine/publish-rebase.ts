// The second half of every rebase: composes the image, pushes it, re-reads it, proves it, and sums it up.
import { ImageError } from "../../core/image/image-error.ts";
import { defaultTargetTag, formatReference, parseReference } from "../../core/image/reference.ts";
import type { PlanSummary, RebaseRequest, RebaseSummary } from "../../ports/rebase-engine.ts";
import type { Registries, Repository } from "../../ports/registry.ts";
import type { BuiltDelta } from "./build-delta.ts";
import type { ComparisonRules, PlannedPair } from "./compare-images.ts";
import type { LayerReader } from "./layer-reader.ts";
import { loadImage } from "./load-image.ts";
import { composeImage, pushImage, type ComposedImage } from "./push-result.ts";
import { complete, draftPlanned } from "./summarize.ts";
import { verifyResult } from "./verify-result.ts";

/** Where a result goes. */
export interface RebaseTarget {
  readonly repository: Repository;
  readonly tag: string;
}

/**
 * Opens the target of a request: the one it names, or `iot-<candidate tag>` beside the candidate.
 * @throws ImageError REFERENCE_INVALID for a target with a digest or without a tag
 */
export function openTarget(request: RebaseRequest, registries: Registries): RebaseTarget {
  const candidate = parseReference(request.candidate);
  const { registry, repository, tag, digest } =
    request.target === undefined
      ? { ...candidate, tag: defaultTargetTag(candidate), digest: undefined }
      : parseReference(request.target);
  if (tag === undefined || digest !== undefined)
    throw new ImageError("REFERENCE_INVALID", {
      operation: "choose target",
      subject: request.target ?? request.candidate,
      want: "a tag and no digest",
    });
  return { repository: registries.open(registry, repository), tag };
}

/** What publishing needs besides the image. */
export interface PublishTools {
  readonly registries: Registries;
  readonly reader: LayerReader;
  readonly choice: ComparisonRules;
}

/**
 * Publishes a planned pair whose outcome is `rebase`; the summary says what the registry holds, not what was sent.
 *
 * The image is pushed by its digest and proven before it gets its tag, so that a tag never names what is not exact.
 */
export async function publishRebase(
  planned: PlannedPair,
  deltas: readonly BuiltDelta[],
  target: RebaseTarget,
  { registries, reader, choice }: PublishTools,
): Promise<RebaseSummary> {
  const image = composeImage(planned, deltas);
  const digest = await pushImage(planned, deltas, image, target.repository);
  const { registry, repository } = target.repository;
  const result = await loadImage(registries, formatReference({ registry, repository, digest }));
  const verified = await verifyResult({ ...planned, result }, reader, choice);
  if (verified === "exact") {
    await target.repository.putManifest(target.tag, {
      mediaType: image.manifest.mediaType,
      bytes: image.manifestBytes,
    });
  }
  const name = verified === "exact" ? { tag: target.tag } : { digest };
  return {
    ...weighPlan(planned, deltas, image),
    result: { reference: formatReference({ registry, repository, ...name }), digest },
    layers: deltas.map(({ descriptor: { digest, size } }) => ({ digest, size })),
    verified,
  };
}

/** Completes a plan with the bytes of the image it led to. */
export function weighPlan(planned: PlannedPair, deltas: readonly BuiltDelta[], image: ComposedImage): PlanSummary {
  const layers = deltas.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
  return complete(draftPlanned(planned), layers + image.config.length + image.manifestBytes.length);
}
