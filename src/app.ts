// The composition root: reads settings once and builds everything from them.
import { readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { DefaultAzureCredential } from "@azure/identity";
import { createActivities, type Activities } from "./activities/index.ts";
import { createIntake } from "./activities/intake.ts";
import { createOperations, type Operations } from "./activities/operations.ts";
import type { ActivityPorts, Stores } from "./activities/ports.ts";
import { createAcrTasksClient, createAcrTasksRuns, readTaskSettings } from "./adapters/acr-tasks/index.ts";
import { createDirectEngine } from "./adapters/direct-engine/index.ts";
import { createIotHub } from "./adapters/iot-hub/index.ts";
import { createRegistries } from "./adapters/registry/index.ts";
import { createByteCache } from "./adapters/storage/byte-cache.ts";
import { createDocumentStore, type StorageAccess } from "./adapters/storage/documents.ts";
import type { TaskEngineRules } from "./core/config.ts";
import { parseConfig } from "./core/config-schema.ts";
import { LighterError } from "./core/errors.ts";
import type { IotHub } from "./ports/iot-hub.ts";
import type { RebaseRuns } from "./ports/rebase-runs.ts";
import type { ReleaseQueue } from "./ports/release-queue.ts";

/** The backend, as the functions see it. */
export interface App {
  readonly activities: Activities;
  readonly operations: Operations;
  /** The present; the wall clock, or the faster one of an embedded stack. */
  now(): Date;
  /** The way in for trigger events; `start` starts a release's orchestration unless it exists. */
  queue(start: (releaseId: string) => Promise<void>): ReleaseQueue;
}

/** App settings, as `process.env` has them. */
type Settings = Readonly<Record<string, string | undefined>>;

const once = <T>(create: () => T): (() => T) => {
  let created: { readonly value: T } | undefined;
  return () => (created ??= { value: create() }).value;
};

/**
 * Finds storage by Azure's conventions: `NAME` holds a connection string, or `NAME__blobServiceUri` and
 * `NAME__tableServiceUri` hold endpoints to be used with the app's identity.
 */
function findStorage(settings: Settings, name: string, service: "blob" | "table"): StorageAccess | undefined {
  const connectionString = settings[name];
  if (connectionString) return { connectionString };
  const endpoint = settings[`${name}__${service}ServiceUri`];
  return endpoint ? { endpoint, credential: new DefaultAzureCredential() } : undefined;
}

function requireStorage(settings: Settings, service: "blob" | "table"): StorageAccess {
  const found =
    findStorage(settings, "LIGHTER_STORAGE", service) ?? findStorage(settings, "AzureWebJobsStorage", service);
  if (found !== undefined) return found;
  throw new LighterError("SETTING_MISSING", {
    operation: "read settings",
    subject: "LIGHTER_STORAGE",
    got: "nothing",
    want: `a connection string, or LIGHTER_STORAGE__${service}ServiceUri`,
  });
}

/**
 * The clock by which releases are dated and pauses are kept: the wall clock, unless `LIGHTER_CLOCK`
 * (`{"originMs", "scale"}`) says that the stack around this app runs faster.
 */
function readClock(settings: Settings): { readonly now: () => Date; readonly scale: number } {
  const text = settings["LIGHTER_CLOCK"];
  if (!text) return { now: () => new Date(), scale: 1 };
  const { originMs, scale } = JSON.parse(text) as { originMs: number; scale: number };
  return { now: () => new Date(originMs + (Date.now() - originMs) * scale), scale };
}

function createStores(access: StorageAccess): Stores {
  return {
    releases: createDocumentStore(access, "lighterreleases"),
    listings: createDocumentStore(access, "lighterlistings"),
    tagHeads: createDocumentStore(access, "lightertagheads"),
    productHeads: createDocumentStore(access, "lighterproductheads"),
    commands: createDocumentStore(access, "lightercommands"),
    ledgers: createDocumentStore(access, "lighterledgers"),
    priorities: createDocumentStore(access, "lighterpriorities"),
  };
}

/**
 * Builds the backend.
 * @throws LighterError SETTING_MISSING, CONFIG_NOT_JSON, CONFIG_INVALID
 */
function createApp(settings: Settings): App {
  const configFile = settings["LIGHTER_CONFIG"] ?? "lighter.config.json";
  const config = parseConfig(readFileSync(configFile, "utf8"), configFile);
  const { now, scale } = readClock(settings);
  const registries = createRegistries({ retry: { sleep: (ms) => wait(ms / scale) } });
  const hubs = new Map<string, IotHub>();

  function hub(name: string): IotHub {
    const known = hubs.get(name);
    if (known !== undefined) return known;
    const rules = config.hubs.find((configured) => configured.name === name);
    const connection = rules && settings[rules.connectionSetting];
    if (rules === undefined || !connection) {
      throw new LighterError("SETTING_MISSING", {
        operation: "connect to hub",
        subject: name,
        got: `no setting ${rules?.connectionSetting ?? "for it"}`,
        want: "a connection string or a host name",
      });
    }
    const opened = createIotHub({
      name,
      connection,
      credential: () => new DefaultAzureCredential(),
      devicesPerSecond: rules.slotAssignment.devicesPerSecond,
      timeScale: scale,
    });
    hubs.set(name, opened);
    return opened;
  }

  const cache = createByteCache(requireStorage(settings, "blob"), "lighter-indexes");
  const engine = createDirectEngine({ registries, cache });

  function runs({ runner, image, task, agentPool, identity, timeoutSeconds }: TaskEngineRules): RebaseRuns {
    return createAcrTasksRuns({
      client: createAcrTasksClient(readTaskSettings(settings)),
      registries,
      engine,
      cache,
      runner,
      ...(image === undefined ? {} : { image }),
      ...(task === undefined ? {} : { task }),
      settings: {
        ...(agentPool === undefined ? {} : { agentPool }),
        ...(identity === undefined ? {} : { sourceIdentity: identity }),
        ...(timeoutSeconds === undefined ? {} : { timeoutSeconds }),
      },
    });
  }

  const ports: ActivityPorts = {
    config,
    stores: createStores(requireStorage(settings, "table")),
    registries,
    engine,
    runs,
    hub,
  };
  return {
    activities: createActivities(ports),
    operations: createOperations(ports),
    now,
    // In this process an event is taken in at once; what is left unfinished, its next delivery completes.
    queue(start) {
      const intake = createIntake(ports, start);
      return { send: (event) => intake.accept(event, now()) };
    },
  };
}

/** The backend of this process, from its environment; built on first use. */
export const getApp: () => App = once(() => createApp(process.env));
