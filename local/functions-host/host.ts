// The functions host: runs an app of unmodified `@azure/functions` and `durable-functions` without .NET.
import type { Clock } from "../clock.ts";
import { createCoreApi, injectCoreApi } from "./core-api.ts";
import type { Binding, RpcTypedData } from "./core-api.ts";
import { FunctionsHostError, messageOf } from "./errors.ts";
import { createInvokeWithRetry } from "./function-retry.ts";
import { listFunctions } from "./functions.ts";
import { parseHostJson } from "./host-json.ts";
import { createAdmin } from "./http/admin.ts";
import { sendStatus } from "./http/exchange.ts";
import type { HttpHandler } from "./http/exchange.ts";
import { listen } from "./http/server.ts";
import { createInvoke } from "./invoke.ts";
import type { Invoke } from "./invoke.ts";
import { isAuthorized, loadKeys } from "./keys.ts";
import type { HostKeys } from "./keys.ts";
import { loadApp, readHostJson } from "./load-app.ts";
import type { AppLocation } from "./load-app.ts";
import type { LogSink } from "./log.ts";
import { createLoopWatch } from "./loop-watch.ts";
import type { Settings } from "./settings.ts";
import { openStorage } from "./storage.ts";
import type { Durability } from "./storage.ts";
import { createDurableTrigger } from "./triggers/durable.ts";
import { createHttpTrigger } from "./triggers/http.ts";
import { timerTrigger } from "./triggers/timer.ts";
import type { RunningTrigger, TriggerKind } from "./triggers/trigger.ts";
import { createWarnings } from "./warnings.ts";
import type { HostWarning } from "./warnings.ts";

/** Receives what functions write to an extra output (or a return value that is not HTTP). */
type OutputSink = (data: RpcTypedData, binding: Binding, functionName: string) => Promise<void>;

/** How to host an app. */
export interface FunctionsHostOptions {
  readonly app: AppLocation;
  /** The content of host.json; read from the app's folder unless given. */
  readonly hostJson?: unknown;
  /** Set as environment variables before the app loads. */
  readonly settings?: Settings;
  /** The SQLite file of histories, keys and timers; created if missing. */
  readonly storageFile: string;
  /** What a commit survives; `process` unless given. */
  readonly durability?: Durability;
  readonly clock: Clock;
  /** 0, the default, takes a free port. */
  readonly port?: number;
  /** Keys to use; missing ones are made once and kept in the storage file. */
  readonly keys?: Partial<HostKeys>;
  readonly log: LogSink;
  /** Further triggers, e.g. for queues and event streams. */
  readonly triggers?: readonly TriggerKind[];
  /** Sinks of output bindings by binding type. */
  readonly outputs?: Readonly<Record<string, OutputSink>>;
  /** After how many ms of wall time an HTTP response is cut; 230,000 unless given. */
  readonly httpTimeoutMs?: number;
  /** How long `close` waits for what runs, in ms of wall time; 10,000 unless given. */
  readonly closeGraceMs?: number;
}

/** A running host. */
export interface FunctionsHost {
  /** `http://127.0.0.1:port`. */
  readonly url: string;
  readonly keys: HostKeys;
  /** Names of the loaded functions. */
  readonly functions: readonly string[];
  /** What the app does that the service punishes, so far. */
  readonly warnings: readonly HostWarning[];
  /** Stops triggers, lets what runs finish and runs the app's `appTerminate` hooks. */
  close(): Promise<void>;
}

const HTTP_TIMEOUT_MS = 230_000;
const CLOSE_GRACE_MS = 10_000;

/**
 * Starts an app: injects `@azure/functions-core`, imports the entry files, checks every binding, resumes what the
 * storage holds and begins to serve. Throws a FunctionsHostError naming function and binding for what is not offered.
 */
export async function createFunctionsHost(options: FunctionsHostOptions): Promise<FunctionsHost> {
  const { clock, log, app, outputs = {}, httpTimeoutMs = HTTP_TIMEOUT_MS, closeGraceMs = CLOSE_GRACE_MS } = options;
  const startedAt = performance.now();
  const hostJson = parseHostJson(options.hostJson ?? readHostJson(app.folder));
  const core = createCoreApi(log);
  injectCoreApi(core.module);
  const warnings = createWarnings(log);
  const storage = openStorage(options.storageFile, options.durability ?? "process");
  const server = await listen(options.port ?? 0, log);
  const cleanUp = async (): Promise<void> => {
    await server.close(0);
    storage.close();
  };

  try {
    const settings = {
      WEBSITE_HOSTNAME: new URL(server.url).host,
      FUNCTIONS_WORKER_RUNTIME: "node",
      ...options.settings,
    };
    Object.assign(process.env, settings);
    const keys = loadKeys(storage, options.keys ?? {});

    const durable = createDurableTrigger();
    const kinds = [createHttpTrigger({ timeoutMs: httpTimeoutMs }), timerTrigger, durable, ...(options.triggers ?? [])];
    const inputs = new Map(["durableclient", "orchestrationclient"].map((type) => [type, () => durable.clientInput()]));
    const sinks = new Map(Object.entries(outputs).map(([type, sink]) => [type.toLowerCase(), sink]));

    await loadApp(app);
    const model = core.model();
    if (model === undefined) {
      throw new FunctionsHostError("APP_LOAD_FAILED", {
        operation: "load",
        subject: app.folder,
        got: "no function registered",
      });
    }
    const hookData = {};
    await core.runHooks("appStart", { hookData, appHookData: hookData, functionAppDirectory: app.folder });
    const capabilities = await model.getCapabilities({
      RpcHttpBodyOnly: "true",
      RpcHttpTriggerMetadataRemoved: "true",
    });
    core.seal();

    const listed = listFunctions(core, {
      triggers: new Set(kinds.flatMap(({ types }) => types)),
      inputs: new Set(inputs.keys()),
      outputs: new Set(["http", ...sinks.keys()]),
    });
    // As in Azure, the setting AzureWebJobs.<name>.Disabled leaves a function out.
    const isDisabled = (name: string): boolean =>
      /^(true|1)$/i.test(process.env[`AzureWebJobs.${name}.Disabled`] ?? "");
    const functions = listed.filter(({ name }) => !isDisabled(name));
    const pipeline = createInvoke({ core, log, inputs, watch: createLoopWatch(warnings) });
    const invoke: Invoke = async (invocation) => {
      const outcome = await pipeline(invocation);
      for (const binding of invocation.fn.outputs) {
        const sink = sinks.get(binding.type.toLowerCase());
        const data =
          binding.name === "$return"
            ? outcome.response.returnValue
            : outcome.response.outputData?.find(({ name }) => name === binding.name)?.data;
        if (sink !== undefined && data !== undefined && data !== null) await sink(data, binding, invocation.fn.name);
      }
      return outcome;
    };

    const running: RunningTrigger[] = [];
    const lent = { clock, hostJson, keys, log, settings, storage, warnings, capabilities, url: server.url, invoke };
    for (const kind of kinds) {
      const served = functions.filter(({ trigger }) => kind.types.includes(trigger.type.toLowerCase()));
      for (const { name, metadata } of served) {
        if (
          metadata.retryOptions !== undefined &&
          !/^(timer|eventhub|kafka|cosmosdb)trigger$/.test(kind.types[0] ?? "")
        ) {
          warnings.add("RETRY_NOT_SUPPORTED", name, "function-level retry is ignored for this trigger");
        }
      }
      running.push(
        await kind.prepare({ ...lent, functions: served, invokeWithRetry: createInvokeWithRetry(invoke, clock) }),
      );
    }

    const admin = createAdmin({
      keys,
      warnings,
      functions,
      startedAt,
      run: (fn, trigger) =>
        void invoke({ fn, trigger }).catch((error: unknown) =>
          log({ level: "error", category: "host", message: messageOf(error), functionName: fn.name }),
        ),
      manualInput: (fn, input) =>
        kinds.find(({ types }) => types.includes(fn.trigger.type.toLowerCase()))?.manual?.(fn, input) ?? {
          string: input ?? "",
        },
    });
    server.serve(createDispatcher({ keys, admin, running, rpcPath: durable.rpcPath, handleRpc: durable.handleRpc }));
    for (const trigger of running) await trigger.start?.();

    let closing: Promise<void> | undefined;
    const close = async (): Promise<void> => {
      const stopped = Promise.all([server.close(closeGraceMs), ...running.map((trigger) => trigger.stop?.())]);
      const grace = new Promise((resolve) => setTimeout(resolve, closeGraceMs).unref());
      await Promise.race([stopped, grace]);
      await core.runHooks("appTerminate", { hookData, appHookData: hookData });
      storage.close();
    };
    return {
      url: server.url,
      keys,
      functions: functions.map(({ name }) => name),
      get warnings() {
        return warnings.list();
      },
      close: () => (closing ??= close()),
    };
  } catch (error) {
    await cleanUp();
    throw error;
  }
}

interface DispatcherOptions {
  readonly keys: HostKeys;
  readonly admin: HttpHandler;
  readonly running: readonly RunningTrigger[];
  readonly rpcPath: string;
  readonly handleRpc: HttpHandler;
}

function createDispatcher({ keys, admin, running, rpcPath, handleRpc }: DispatcherOptions): HttpHandler {
  const webhooks = new Map(
    running.flatMap(({ webhook }) => (webhook === undefined ? [] : [[webhook.name, webhook.handle] as const])),
  );
  const routes = running.flatMap(({ route }) => (route === undefined ? [] : [route]));

  return async (exchange) => {
    const { pathname } = exchange.url;
    if (pathname.startsWith(rpcPath)) return handleRpc(exchange);
    if (/^\/admin\//i.test(pathname)) return admin(exchange);
    const extension = /^\/runtime\/webhooks\/([^/]+)/i.exec(pathname)?.[1]?.toLowerCase();
    if (extension !== undefined) {
      const handle = webhooks.get(extension);
      if (handle === undefined) return sendStatus(exchange, 404);
      const isAllowed = isAuthorized(keys, exchange.request, exchange.url, {
        level: "system",
        name: `${extension}_extension`,
      });
      return isAllowed ? handle(exchange) : sendStatus(exchange, 401);
    }
    for (const route of routes) if (await route(exchange)) return undefined;
    return sendStatus(exchange, pathname === "/" && exchange.request.method === "GET" ? 200 : 404);
  };
}
