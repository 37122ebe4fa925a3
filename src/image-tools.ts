// The composition root of the image commands: an engine over real registries, without the backend around it.
import type { ReadProgress } from "./adapters/direct-engine/layer-reader.ts";
import { createAdvisor } from "./adapters/direct-engine/advisor.ts";
import { createDirectEngine } from "./adapters/direct-engine/index.ts";
import { createPushHistory, type HistoryStep } from "./adapters/direct-engine/push-history.ts";
import { createFolderCache } from "./adapters/index-cache/folder.ts";
import { createMemoryCache } from "./adapters/index-cache/memory.ts";
import { createRegistries } from "./adapters/registry/index.ts";
import type { ImageAdvisor } from "./ports/image-advisor.ts";
import type { PushHistory } from "./ports/push-history.ts";
import type { RebaseEngine } from "./ports/rebase-engine.ts";

export type { ReadProgress } from "./adapters/direct-engine/layer-reader.ts";
export type { HistoryStep } from "./adapters/direct-engine/push-history.ts";
export type { AdviceSummary } from "./ports/image-advisor.ts";
export type { HistorySummary, MeasuredPush } from "./ports/push-history.ts";
export type { PlanSummary, Verification } from "./ports/rebase-engine.ts";

/** What the image commands need; kept apart from `app.ts` so that a command starts without the cloud's SDKs. */
export interface ImageTools {
  readonly engine: RebaseEngine;
  readonly history: PushHistory;
  readonly advisor: ImageAdvisor;
  close(): Promise<void>;
}

/** How the tools are made. */
export interface ImageToolsOptions {
  /** A folder that keeps layer indexes between runs. */
  readonly indexCache?: string;
  readonly onProgress?: (progress: ReadProgress) => void;
  readonly onStep?: (step: HistoryStep) => void;
}

/** Memory for indexes that several comparisons need; one of 12,500 files takes about a megabyte. */
const INDEX_MEMORY_BYTES = 256 * 1024 * 1024;

/** Creates the tools; credentials come from the docker config or, for Azure's registries, from the Azure identity. */
export function createImageTools({ indexCache, onProgress, onStep }: ImageToolsOptions): ImageTools {
  const registries = createRegistries();
  const cache = indexCache === undefined ? undefined : createFolderCache(indexCache);
  const options = { registries, ...(onProgress === undefined ? {} : { onProgress }) };
  const cached = { ...options, ...(cache === undefined ? {} : { cache }) };
  const engine = createDirectEngine(cached);
  const advisor = createAdvisor(cached);
  const history = createPushHistory({
    ...options,
    cache: createMemoryCache({
      maxBytes: INDEX_MEMORY_BYTES,
      ...(cache === undefined ? {} : { behind: cache }),
    }),
    ...(onStep === undefined ? {} : { onStep }),
  });
  return { engine, history, advisor, close: () => registries.close() };
}
