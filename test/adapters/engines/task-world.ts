// A registry, a storage account and the embedded ACR Tasks, for tests of engines that run there.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createAcrTasks, type AcrTasksOptions, type LocalAcrTasks } from "../../../local/acr-tasks/acr-tasks.ts";
import { createAzurite, type Azurite } from "../../../local/azurite.ts";
import { createScaledClock } from "../../../local/clock.ts";
import type { AuthOptions } from "../../../local/registry/auth.ts";
import { createRegistry, type LocalRegistry } from "../../../local/registry/registry.ts";
import {
  createAcrTasksClient,
  createAcrTasksRuns,
  type AcrTasksClient,
  type AcrTasksRunsOptions,
} from "../../../src/adapters/acr-tasks/index.ts";
import { createDirectEngine } from "../../../src/adapters/direct-engine/index.ts";
import {
  createRegistries,
  type ClosableRegistries,
  type RegistryCredentials,
} from "../../../src/adapters/registry/index.ts";
import type { RunState } from "../../../src/core/release/rebase-run.ts";
import type { LayerIndexer, RebaseEngine, RebaseRequest, RebaseSummary } from "../../../src/ports/rebase-engine.ts";
import type { RebaseRuns, RunHandle } from "../../../src/ports/rebase-runs.ts";

/** Everything that tests of one file share. */
export interface TaskWorld {
  readonly registry: LocalRegistry;
  readonly registries: ClosableRegistries;
  readonly engine: RebaseEngine & LayerIndexer;
  /** A folder for whatever a test needs. */
  readonly folder: string;
  /** Starts a service of its own over the same registry and storage. */
  startTasks(options?: Partial<AcrTasksOptions>): Promise<LocalAcrTasks>;
  connect(tasks: LocalAcrTasks): AcrTasksClient;
  createRuns(tasks: LocalAcrTasks, options: Partial<AcrTasksRunsOptions>): RebaseRuns;
  close(): Promise<void>;
}

const LIGHTER = resolve(import.meta.dirname, "../../../src/cli/main.ts");

/** A registry that asks who is there, and us among those it knows. */
export interface GuardedRegistry {
  readonly auth: AuthOptions;
  readonly credentials: RegistryCredentials;
}

/** Starts it all. Steps that run Lighter's image run its command line as a process. */
export async function createTaskWorld(guarded?: GuardedRegistry): Promise<TaskWorld> {
  const folder = mkdtempSync(join(tmpdir(), "lighter-engines-"));
  const azurite: Azurite = await createAzurite({ folder: join(folder, "azurite") });
  const registry = await createRegistry({
    folder: join(folder, "registry"),
    ...(guarded === undefined ? {} : { auth: guarded.auth }),
  });
  const registries = createRegistries({ credentials: async () => guarded?.credentials });
  const engine = createDirectEngine({ registries });
  const started: LocalAcrTasks[] = [];
  const connect = (tasks: LocalAcrTasks): AcrTasksClient =>
    createAcrTasksClient({
      endpoint: tasks.url,
      subscriptionId: tasks.subscriptionId,
      resourceGroup: tasks.resourceGroup,
      registryName: tasks.registryName,
      credential: async () => ({
        getToken: async () => ({ token: "caller", expiresOnTimestamp: Date.now() + 3_600_000 }),
      }),
      retry: { baseDelayMs: 1, maxDelayMs: 5 },
    });

  return {
    registry,
    registries,
    engine,
    folder,
    async startTasks(options = {}) {
      const tasks = await createAcrTasks({
        clock: createScaledClock({ originMs: 0, scale: 1 }),
        registryHost: registry.host,
        storage: azurite.connectionString,
        folder: mkdtempSync(join(folder, "tasks-")),
        commands: { lighter: [process.execPath, LIGHTER] },
        executor: "own",
        ...options,
      });
      started.push(tasks);
      return tasks;
    },
    connect,
    createRuns: (tasks, options) =>
      createAcrTasksRuns({ client: connect(tasks), registries, engine, settings: {}, runner: "cmd", ...options }),
    async close() {
      for (const tasks of started) await tasks.close();
      await registries.close();
      await registry.close();
      await azurite.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const POLL_MS = 20;

/** Looks at a run until it is over, as a timer of an orchestration would. */
export async function settle(runs: RebaseRuns, handle: RunHandle): Promise<RunState> {
  for (;;) {
    const state = await runs.look(handle);
    if (state.state !== "pending") return state;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Starts what must become a run. */
export async function startRun(runs: RebaseRuns, request: RebaseRequest): Promise<RunHandle> {
  const start = await runs.start(request);
  if (start.kind === "run") return start.handle;
  throw new Error(`start: ${start.kind}: ${start.reason}`);
}

/** A rebase from start to end. */
export async function runRebase(runs: RebaseRuns, request: RebaseRequest): Promise<RebaseSummary> {
  const handle = await startRun(runs, request);
  const state = await settle(runs, handle);
  if (state.state === "failed") throw new Error(`${state.reason}\n${state.log.tail}`);
  return await runs.collect(handle);
}
