// What the runners `cmd` and `build` are made from, and the first steps that both take.
import { parsePlatform, formatPlatform } from "../../core/image/platform.ts";
import { formatReference, parseReference } from "../../core/image/reference.ts";
import type { ByteCache } from "../../ports/byte-cache.ts";
import type { RebaseEngine, RebaseRequest, RebaseSummary, ResolvedImage } from "../../ports/rebase-engine.ts";
import type { RunHandle, RunStart } from "../../ports/rebase-runs.ts";
import type { Registries } from "../../ports/registry.ts";
import { loadPair, type ImagePair } from "../direct-engine/compare-images.ts";
import { openTarget } from "../direct-engine/publish-rebase.ts";
import { draftAtOnce, resolved } from "../direct-engine/summarize.ts";
import type { AcrTasksClient } from "./client.ts";
import type { RunSettings } from "./run-request.ts";

/** What runners work with. */
export interface RunnerTools {
  readonly client: AcrTasksClient;
  readonly registries: Registries;
  /** Plans and proves on this side. */
  readonly engine: Pick<RebaseEngine, "plan" | "verify">;
  readonly cache?: ByteCache;
  readonly settings: RunSettings;
}

/** One way to have a rebase done by ACR Tasks. */
export interface Runner {
  start(request: PinnedRequest): Promise<RunStart>;
  collect(handle: RunHandle): Promise<RebaseSummary>;
}

/** A request whose images are named by digest, and what is known of them. */
export interface PinnedRequest {
  readonly pair: ImagePair;
  readonly images: Pick<Required<RunHandle>, "anchor" | "candidate" | "target" | "platform">;
}

/** Pins a request to what its tags mean now; or says that no layer has to be read for it. */
export async function pinRequest(
  registries: Registries,
  request: RebaseRequest,
): Promise<PinnedRequest | Extract<RunStart, { kind: "needless" }>> {
  const { repository, tag } = openTarget(request, registries);
  const platform = request.platform === undefined ? undefined : parsePlatform(request.platform);
  const pair = await loadPair(registries, request, platform);
  const { anchor, candidate, shared } = pair;
  const unshared = anchor.manifest.layers.length + candidate.manifest.layers.length - 2 * shared;
  if (draftAtOnce(pair) !== undefined || unshared === 0)
    return { kind: "needless", reason: "the manifests and configs alone decide" };
  return {
    pair,
    images: {
      anchor: resolved(anchor),
      candidate: resolved(candidate),
      target: formatReference({ registry: repository.registry, repository: repository.repository, tag }),
      platform: formatPlatform(candidate.config.platform),
    },
  };
}

/** The reference of an image that no tag can change any more. */
export function pinned({ reference, digest }: ResolvedImage): string {
  const { registry, repository } = parseReference(reference);
  return formatReference({ registry, repository, digest });
}
