// The composition root of the commands that use ACR Tasks; apart from the others, so that only they load its client.
import { readdir, readFile } from "node:fs/promises";
import { join, relative, resolve, sep } from "node:path";
import {
  buildImage,
  createAcrTasksClient,
  createAcrTasksRuns,
  createRebaseTask,
  readTaskSettings,
  type ContextFile,
  type ImageBuildResult,
  type RunSettings,
  type TaskSettings,
} from "./adapters/acr-tasks/index.ts";
import { createDirectEngine } from "./adapters/direct-engine/index.ts";
import { createFolderCache } from "./adapters/index-cache/folder.ts";
import { createMemoryCache } from "./adapters/index-cache/memory.ts";
import { createRegistries } from "./adapters/registry/index.ts";
import { LighterError } from "./core/errors.ts";
import { formatReference, parseReference } from "./core/image/reference.ts";
import type { RebaseEngine } from "./ports/rebase-engine.ts";
import type { RebaseRuns, RunHandle } from "./ports/rebase-runs.ts";

export type { RunSettings, TaskSettings } from "./adapters/acr-tasks/index.ts";
export type { RebaseSummary } from "./ports/rebase-engine.ts";
export type { RunHandle } from "./ports/rebase-runs.ts";

/** What the commands need. */
export interface TaskTools {
  readonly runs: RebaseRuns;
  /** Does what the runs leave to it. */
  readonly engine: RebaseEngine;
  /**
   * Builds Lighter's image, `repository:tag`, in the registry, on Node's image or on `nodeImage` in its place.
   * @throws LighterError NOT_BUILT
   */
  buildLighter(image: string, nodeImage: string | undefined, onLog: (text: string) => void): Promise<ImageBuildResult>;
  createTask(
    name: string,
    location: string,
  ): Promise<{ readonly id: string; readonly principalId: string | undefined }>;
  close(): Promise<void>;
}

/** How the tools are made. */
export interface TaskToolsOptions {
  readonly settings: TaskSettings;
  readonly runner?: RunHandle["runner"];
  readonly image?: string;
  readonly task?: string;
  readonly run?: RunSettings;
  /** A folder that keeps layer indexes between runs. */
  readonly indexCache?: string;
}

/** Proving a result reads the same layers as planning it. */
const INDEX_MEMORY_BYTES = 256 * 1024 * 1024;

/** Creates the tools. @throws AcrTasksError SETTING_INVALID */
export function createTaskTools({ settings, run = {}, indexCache, ...choice }: TaskToolsOptions): TaskTools {
  const client = createAcrTasksClient(readTaskSettings(settings));
  const registries = createRegistries();
  const cache = createMemoryCache({
    maxBytes: INDEX_MEMORY_BYTES,
    ...(indexCache === undefined ? {} : { behind: createFolderCache(indexCache) }),
  });
  const engine = createDirectEngine({ registries, cache });
  const { runner = "cmd", image, task } = choice;
  const runs = createAcrTasksRuns({
    client,
    registries,
    engine,
    cache,
    runner,
    settings: run,
    ...(image === undefined ? {} : { image }),
    ...(task === undefined ? {} : { task }),
  });
  return {
    runs,
    engine,
    async buildLighter(image, nodeImage, onLog) {
      const buildArguments = nodeImage === undefined ? {} : { NODE_IMAGE: formatReference(parseReference(nodeImage)) };
      return await buildImage(client, { context: await readContext(), image, buildArguments, settings: run, onLog });
    },
    createTask: (name, location) => createRebaseTask(client, { name, location, settings: run }),
    close: () => registries.close(),
  };
}

/** The project's root: of the sources as of what is compiled from them, two levels apart. */
const ROOT = resolve(import.meta.dirname, import.meta.dirname.endsWith(join("dist", "src")) ? "../.." : "..");

/** What the Dockerfile copies: itself, the list of packages, and the compiled program; its `.dockerignore` says the same. */
async function readContext(): Promise<ContextFile[]> {
  const program = join(ROOT, "dist", "src");
  const compiled = await readdir(program, { recursive: true, withFileTypes: true }).catch((cause: unknown) => {
    throw new LighterError("NOT_BUILT", {
      operation: "pack program",
      subject: program,
      got: "nothing",
      want: "the compiled program: npm run build",
      cause,
    });
  });
  const files = compiled
    .filter((entry) => entry.isFile() && entry.name.endsWith(".js"))
    .map((entry) => join(entry.parentPath, entry.name));
  const paths = ["Dockerfile", "package.json", "package-lock.json"].map((name) => join(ROOT, name));
  return await Promise.all(
    [...paths, ...files.sort()].map(async (path) => ({
      path: relative(ROOT, path).split(sep).join("/"),
      content: await readFile(path),
    })),
  );
}
