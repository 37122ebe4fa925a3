// The embedded ACR Tasks: the ARM API for runs and tasks, agents that carry them out, sources and logs in Azurite.
import { randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { BlobServiceClient } from "@azure/storage-blob";
import type { Clock } from "../clock.ts";
import { createBuildahBuilder, findBuildah } from "./build/buildah-builder.ts";
import type { CreateImageBuilder } from "./build/image-builder.ts";
import { createOwnBuilder } from "./build/own-builder.ts";
import type { IdentityTokens } from "./docker-login.ts";
import { type CallFaultOrder, createFaultOrders, type RunFault } from "./faults.ts";
import { listOperations } from "./operations.ts";
import type { RegistryRules } from "./registry-rules.ts";
import { serveOperations } from "./rest-server.ts";
import type { RunStatus } from "./run-record.ts";
import { createRunService } from "./run-service.ts";
import type { StepCommands } from "./run-steps.ts";
import { createTaskStorage } from "./task-storage.ts";

/** How the service is set up; all times are ms of the clock. */
export interface AcrTasksOptions {
  readonly clock: Clock;
  /** 0 or nothing for any free port. */
  readonly port?: number;
  /** Host and port of the registry that the tasks belong to. */
  readonly registryHost: string;
  /** The connection string of the storage that takes sources and logs. */
  readonly storage: string;
  /** Where runs work. */
  readonly folder: string;
  /** What `cmd` steps can run. */
  readonly commands?: StepCommands;
  /** Entra tokens that the service holds for identities; a registry without authentication needs none. */
  readonly identities?: IdentityTokens;
  /**
   * Which Dockerfile executor: `buildah`, the small `own` one, or (`auto`, default) buildah where it is installed and
   * this process is root, as mounting takes.
   */
  readonly executor?: "auto" | "buildah" | "own";
  /** The registry's place in ARM; there are defaults. */
  readonly subscriptionId?: string;
  readonly resourceGroup?: string;
  readonly registryName?: string;
  readonly rules?: RegistryRules;
  /** Shared agents, 2 by default, and more by pool. */
  readonly agents?: number;
  readonly agentPools?: Readonly<Record<string, number>>;
  /** How long a run waits for its agent at least; 0 by default. */
  readonly queueDelayMs?: number;
  /** Checks Bearer tokens of callers; everybody is let in by default. */
  readonly acceptBearer?: (token: string) => boolean;
  /** Keeps the folders of runs that are over. */
  readonly keepFolders?: boolean;
  readonly createId?: () => string;
}

/** The running service. */
export interface LocalAcrTasks {
  /** `http://127.0.0.1:<port>`, in place of `https://management.azure.com`. */
  readonly url: string;
  readonly subscriptionId: string;
  readonly resourceGroup: string;
  readonly registryName: string;
  /** The registry's ARM id; calls go to `<url><registryId>/scheduleRun` and so on. */
  readonly registryId: string;
  /** Calls per operation so far, e.g. `{"scheduleRun": 2}`. */
  calls(): Readonly<Record<string, number>>;
  /** The runs' states, the oldest first. */
  runs(): readonly { readonly runId: string; readonly status: RunStatus }[];
  /** Replaces the registry's restrictions. */
  setRules(rules: RegistryRules): void;
  /** Makes something happen to the next `times` (1) runs that are scheduled. */
  failRuns(fault: RunFault, times?: number): void;
  /** Makes something happen to coming calls. */
  failCalls(order: CallFaultOrder): void;
  clearFaults(): void;
  /** Cancels everything under way and ends the processes of steps. */
  close(): Promise<void>;
}

const SUBSCRIPTION = "00000000-0000-4000-8000-000000000000";

/** Starts the service on 127.0.0.1; its runs and tasks live in memory. @throws Error when the asked executor is missing */
export async function createAcrTasks(options: AcrTasksOptions): Promise<LocalAcrTasks> {
  const { clock, folder } = options;
  const subscriptionId = options.subscriptionId ?? SUBSCRIPTION;
  const resourceGroup = options.resourceGroup ?? "lighter";
  const registryName = options.registryName ?? "lighter";
  const registryId = `/subscriptions/${subscriptionId}/resourceGroups/${resourceGroup}/providers/Microsoft.ContainerRegistry/registries/${registryName}`;
  const createId = options.createId ?? randomUUID;
  const createBuilder = chooseExecutor(options.executor ?? "auto");
  let rules = options.rules ?? {};
  mkdirSync(folder, { recursive: true });

  const storage = await createTaskStorage({
    service: BlobServiceClient.fromConnectionString(options.storage),
    // Run ids begin anew with every service, so that a shared container would show logs of another.
    container: `container-${createId().replaceAll("-", "")}`,
    now: () => clock.now(),
    createId,
  });
  const faults = createFaultOrders();
  const agents = { ...options.agentPools, "": options.agents ?? 2 };
  const runs = createRunService({
    clock,
    agents,
    queueDelayMs: options.queueDelayMs ?? 0,
    faults,
    agent: {
      clock,
      registry: options.registryHost,
      registryName,
      rules: () => rules,
      tokens: options.identities ?? {},
      commands: options.commands ?? {},
      storage,
      createBuilder,
      folder,
      keepFolders: options.keepFolders ?? false,
    },
  });
  const calls: Record<string, number> = {};
  const server = await serveOperations(
    {
      subscriptionId,
      resourceGroup,
      registryName,
      operations: listOperations({
        clock,
        registryId,
        registryName,
        subscriptionId,
        rules: () => rules,
        pools: Object.keys(options.agentPools ?? {}),
        runs,
        storage,
        createId,
      }),
      acceptBearer: options.acceptBearer,
      faults,
      count: (operation) => void (calls[operation] = (calls[operation] ?? 0) + 1),
    },
    options.port ?? 0,
  );

  return {
    url: `http://127.0.0.1:${server.port}`,
    subscriptionId,
    resourceGroup,
    registryName,
    registryId,
    calls: () => ({ ...calls }),
    runs: () =>
      runs
        .list()
        .toReversed()
        .map(({ runId, status }) => ({ runId, status })),
    setRules: (next) => void (rules = next),
    failRuns: (fault, times = 1) => faults.addForRuns(fault, times),
    failCalls: (order) => faults.addForCalls(order),
    clearFaults: () => faults.clear(),
    async close() {
      await server.close();
      await runs.close();
    },
  };
}

function chooseExecutor(executor: "auto" | "buildah" | "own"): CreateImageBuilder {
  const wanted = executor === "buildah" || (executor === "auto" && process.getuid?.() === 0);
  const buildah = wanted ? findBuildah() : undefined;
  if (executor === "buildah" && buildah === undefined) throw new Error("buildah is not installed");
  return buildah === undefined ? createOwnBuilder : createBuildahBuilder(buildah);
}
