// The embedded stack: storage, registry, hub and functions host, wired as they would be in Azure, on free ports.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type AcrTasksOptions, createAcrTasks, type LocalAcrTasks } from "./acr-tasks/acr-tasks.ts";
import { createAzurite } from "./azurite.ts";
import { createScaledClock, type Clock, type ClockSettings } from "./clock.ts";
import { startHostProcess, type HostProcess } from "./host-process.ts";
import { putBaseDeployment } from "./hub-rest.ts";
import { createIotHub, type IotHub, type IotHubOptions } from "./iot-hub/iot-hub.ts";
import { createRegistry, type LocalRegistry } from "./registry/registry.ts";

/** How to set the stack up. */
export interface StackOptions {
  /** Takes all data and logs. */
  readonly folder: string;
  /** How many seconds of the stack's clock pass in a second. */
  readonly timeScale: number;
  /** The products of lighter.config.json, given the registry's host. */
  readonly products: (registryHost: string) => readonly unknown[];
  /** Fixed ports; a free one is taken where none is given. */
  readonly ports?: { readonly functions?: number; readonly registry?: number; readonly hub?: number };
  readonly hub?: Partial<Omit<IotHubOptions, "clock" | "port">>;
  /** Set: ACR Tasks run beside the registry, and the app is told where. */
  readonly acrTasks?: Partial<Omit<AcrTasksOptions, "clock" | "registryHost" | "storage" | "folder">>;
  /** More of the hub's entry in lighter.config.json, e.g. its share of the quota. */
  readonly hubRules?: Readonly<Record<string, unknown>>;
  /** The app; this project's functions unless given. */
  readonly app?: { readonly folder: string; readonly entries?: readonly string[] };
  /** More app settings. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** The running stack. */
export interface Stack {
  readonly clock: Clock;
  readonly registry: LocalRegistry;
  readonly hub: IotHub;
  /** There when it was asked for. */
  readonly acrTasks: LocalAcrTasks | undefined;
  /** The connection string of the storage that the app uses. */
  readonly storage: string;
  readonly host: HostProcess;
  /** Where the functions host writes its log. */
  readonly logFile: string;
  /** Calls the HTTP API with the host's key; `path` is below `/api/`. */
  call(method: string, path: string, body?: unknown): Promise<{ readonly status: number; readonly body: unknown }>;
  close(): Promise<void>;
}

/** The name of the stack's one hub in its configuration. */
export const HUB_NAME = "main";

/** How far the hub's queries and metrics are behind its twins; the service says up to half an hour, usually less. */
const HUB_LAG = { queryLagMs: 30_000, metricsLagMs: 5_000 };

/** The folder with this project's package.json and host.json, from the sources or from what was compiled of them. */
export function findProjectFolder(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, "host.json"))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error(`no host.json above ${import.meta.dirname}`);
    folder = parent;
  }
  return folder;
}

/** Starts everything; whatever was started is ended again when a part fails. */
export async function createStack(options: StackOptions): Promise<Stack> {
  const { folder, timeScale, ports = {} } = options;
  mkdirSync(folder, { recursive: true });
  const closers: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const end of closers.splice(0).toReversed()) await end();
  };

  try {
    const clockSettings: ClockSettings = { originMs: Date.now(), scale: timeScale };
    const clock = createScaledClock(clockSettings);
    const [azurite, registry, hub] = await Promise.all([
      createAzurite({ folder: join(folder, "storage") }),
      createRegistry({ folder: join(folder, "registry"), port: ports.registry ?? 0, clock }),
      createIotHub({ clock, port: ports.hub ?? 0, ...HUB_LAG, ...options.hub }),
    ]);
    closers.push(
      () => azurite.close(),
      () => hub.close(),
      () => registry.close(),
    );

    const acrTasks =
      options.acrTasks === undefined
        ? undefined
        : await createAcrTasks({
            clock,
            registryHost: registry.host,
            storage: azurite.connectionString,
            folder: join(folder, "acr-tasks"),
            ...options.acrTasks,
          });
    if (acrTasks !== undefined) closers.push(() => acrTasks.close());

    const configFile = join(folder, "lighter.config.json");
    const config = {
      hubs: [{ name: HUB_NAME, connectionSetting: "IOTHUB_MAIN", ...options.hubRules }],
      products: options.products(registry.host),
    };
    writeFileSync(configFile, JSON.stringify(config, null, 2));
    await putBaseDeployment(hub.connectionString);

    const project = findProjectFolder();
    const logFile = join(folder, "functions-host.log");
    const host = await startHostProcess({
      app: options.app ?? { folder: project },
      hostJson: JSON.parse(readFileSync(join(project, "host.json"), "utf8")) as unknown,
      settings: {
        AzureWebJobsStorage: azurite.connectionString,
        LIGHTER_CONFIG: configFile,
        IOTHUB_MAIN: hub.connectionString,
        LIGHTER_CLOCK: JSON.stringify(clockSettings),
        ...(acrTasks === undefined ? {} : acrTasksSettings(acrTasks)),
        ...options.settings,
      },
      storageFile: join(folder, "functions-host.sqlite"),
      clock: clockSettings,
      port: ports.functions ?? 0,
      logFile,
    });
    closers.push(() => host.close());
    registry.webhooks.add({
      name: "lighter",
      url: `${host.url}/api/hooks/acr`,
      headers: { "x-functions-key": host.key },
      actions: ["push"],
    });

    return {
      clock,
      registry,
      hub,
      acrTasks,
      storage: azurite.connectionString,
      host,
      logFile,
      async call(method, path, body) {
        const response = await fetch(`${host.url}/api/${path}`, {
          method,
          headers: { "x-functions-key": host.key, "content-type": "application/json" },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        });
        const text = await response.text();
        return { status: response.status, body: text === "" ? undefined : (JSON.parse(text) as unknown) };
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** App settings that lead to ACR Tasks. */
function acrTasksSettings({ url, subscriptionId, resourceGroup, registryName }: LocalAcrTasks): Record<string, string> {
  return {
    ACR_TASKS_ENDPOINT: url,
    ACR_TASKS_SUBSCRIPTION_ID: subscriptionId,
    ACR_TASKS_RESOURCE_GROUP: resourceGroup,
    ACR_TASKS_REGISTRY: registryName,
  };
}
