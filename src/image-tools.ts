// The composition root of the image commands: an engine over real registries, without the backend around it.
import type { ReadProgress } from "./adapters/direct-engine/layer-reader.ts";
import { createDirectEngine } from "./adapters/direct-engine/index.ts";
import { createFolderCache } from "./adapters/index-cache/folder.ts";
import { createRegistries } from "./adapters/registry/index.ts";
import type { RebaseEngine } from "./ports/rebase-engine.ts";

export type { ReadProgress } from "./adapters/direct-engine/layer-reader.ts";
export type { PlanSummary, Verification } from "./ports/rebase-engine.ts";

/** What the image commands need; kept apart from `app.ts` so that a command starts without the cloud's SDKs. */
export interface ImageTools {
  readonly engine: RebaseEngine;
  close(): Promise<void>;
}

/** How the tools are made. */
export interface ImageToolsOptions {
  /** A folder that keeps layer indexes between runs. */
  readonly indexCache?: string;
  readonly onProgress?: (progress: ReadProgress) => void;
}

/** Creates the tools; credentials come from the docker config or, for Azure's registries, from the Azure identity. */
export function createImageTools({ indexCache, onProgress }: ImageToolsOptions): ImageTools {
  const registries = createRegistries();
  const engine = createDirectEngine({
    registries,
    ...(indexCache === undefined ? {} : { cache: createFolderCache(indexCache) }),
    ...(onProgress === undefined ? {} : { onProgress }),
  });
  return { engine, close: () => registries.close() };
}
