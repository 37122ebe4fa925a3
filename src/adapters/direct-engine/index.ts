// The rebase engine `direct`: registry to registry, streaming, in the process that calls it.
import type { ContentRules } from "../../core/image/content-rules.ts";
import { isEmptyDelta } from "../../core/image/delta-entries.ts";
import { parsePlatform } from "../../core/image/platform.ts";
import type { ByteCache } from "../../ports/byte-cache.ts";
import type {
  LayerIndexer,
  LayerTask,
  PlanRequest,
  PlanSummary,
  RebaseEngine,
  RebaseSummary,
} from "../../ports/rebase-engine.ts";
import type { Registries } from "../../ports/registry.ts";
import { buildDelta, type BuiltDelta } from "./build-delta.ts";
import { loadPair, planPair, type ImagePair, type PlannedPair } from "./compare-images.ts";
import { createLayerReader, type LayerReader, type ReadProgress } from "./layer-reader.ts";
import { loadImage, type LoadedImage } from "./load-image.ts";
import { openTarget, publishRebase, weighPlan } from "./publish-rebase.ts";
import { composeImage } from "./push-result.ts";
import { complete, draftAtOnce, draftPlanned, estimateDelta, resolved, type Draft } from "./summarize.ts";
import { verifyResult } from "./verify-result.ts";

/** What the engine is made from. */
export interface DirectEngineOptions {
  readonly registries: Registries;
  /** Keeps layer indexes by digest; without one every comparison reads all unshared layers. */
  readonly cache?: ByteCache;
  readonly rules?: ContentRules;
  /** Unpacked layers beyond this many bytes are refused. */
  readonly maxLayerBytes?: number;
  readonly onProgress?: (progress: ReadProgress) => void;
}

/** Deltas with more content than this are not built for a plan; their size is estimated. */
const MAX_MEASURED_BYTES = 8 * 1024 * 1024;

/** Creates the engine. It holds no state between calls but the cache. */
export function createDirectEngine(options: DirectEngineOptions): RebaseEngine & LayerIndexer {
  const { registries, rules = {} } = options;
  const newReader = (): LayerReader => createLayerReader(options);
  const load = (request: PlanRequest): Promise<ImagePair> => loadPair(registries, request, platformOf(request));

  return {
    async plan(request) {
      const pair = await load(request);
      const early = draftAtOnce(pair);
      if (early !== undefined) return completeEarly(early);
      const reader = newReader();
      const planned = await planPair(pair, reader, { rules });
      return await measure(planned, reader);
    },

    async rebase(request) {
      const target = openTarget(request, registries);
      const pair = await load(request);
      const early = draftAtOnce(pair);
      if (early !== undefined) return withoutPush(pair, completeEarly(early));
      const reader = newReader();
      const planned = await planPair(pair, reader, { rules });
      const draft = draftPlanned(planned);
      if (draft.outcome !== "rebase") return withoutPush(pair, completeEarly(draft));

      const deltas = await buildDeltas(planned, reader);
      return await publishRebase(planned, deltas, target, { registries, reader, choice: { rules } });
    },

    async verify({ result: resultText, candidate: candidateText, anchor: anchorText, platform }) {
      const wanted = platformOf(platform === undefined ? {} : { platform });
      const [result, candidate, anchor] = await Promise.all([
        loadImage(registries, resultText, wanted),
        loadImage(registries, candidateText, wanted),
        anchorText === undefined ? undefined : loadImage(registries, anchorText, wanted),
      ]);
      const input = { result, candidate, ...(anchor === undefined ? {} : { anchor }) };
      const verified = await verifyResult(input, newReader(), { rules });
      return { result: resolved(result), candidate: resolved(candidate), verified };
    },

    async compareImages(request) {
      const pair = await load(request);
      const { anchor, candidate, shared } = pair;
      const isOver = draftAtOnce(pair) !== undefined;
      const layers = isOver ? [] : [...tasksOf(anchor, shared), ...tasksOf(candidate, shared)];
      const unique = [...new Map(layers.map((task) => [task.layer.digest, task])).values()];
      return { anchor: resolved(anchor), candidate: resolved(candidate), sharedLayers: shared, layers: unique };
    },

    async indexLayer({ registry, repository, layer }) {
      const { index, cached } = await newReader().readIndex(registries.open(registry, repository), layer);
      return { digest: layer.digest, entries: index.entries.length, cached };
    },
  };
}

function platformOf({ platform }: { readonly platform?: string }): ReturnType<typeof parsePlatform> | undefined {
  return platform === undefined ? undefined : parsePlatform(platform);
}

/** Of an early outcome a device downloads either nothing or everything. */
function completeEarly(draft: Draft): PlanSummary {
  return complete(draft, draft.outcome === "full" ? draft.fullBytes : 0);
}

function withoutPush({ anchor, candidate }: ImagePair, plan: PlanSummary): RebaseSummary {
  return { ...plan, result: resolved(plan.outcome === "full" ? candidate : anchor), layers: [], verified: "exact" };
}

async function buildDeltas(planned: PlannedPair, reader: LayerReader): Promise<readonly BuiltDelta[]> {
  return isEmptyDelta(planned.plan.delta) ? [] : [await buildDelta(planned, reader)];
}

/** Completes a plan by building its delta, unless that would take long. */
async function measure(planned: PlannedPair, reader: LayerReader): Promise<PlanSummary> {
  const draft = draftPlanned(planned);
  if (draft.outcome !== "rebase") return completeEarly(draft);
  if (planned.plan.contentBytes > MAX_MEASURED_BYTES) {
    const { config, manifest } = composeImage(planned, []);
    return complete(draft, estimateDelta(planned) + config.length + manifest.config.size, true);
  }
  const deltas = await buildDeltas(planned, reader);
  return weighPlan(planned, deltas, composeImage(planned, deltas));
}

function tasksOf({ reference, manifest }: LoadedImage, from: number): LayerTask[] {
  const { registry, repository } = reference;
  return manifest.layers.slice(from).map((layer) => ({ registry, repository, layer }));
}
