// The module `@azure/functions-core` that the Functions worker injects into `@azure/functions`, and its injection.
import Module from "node:module";
import { FunctionsHostError } from "./errors.ts";
import type { LogLevel, LogSink } from "./log.ts";

/** A value as the host and the worker exchange it; exactly one property is set. */
export interface RpcTypedData {
  readonly string?: string;
  readonly json?: string;
  readonly bytes?: Uint8Array;
  readonly int?: number;
  readonly double?: number;
  readonly http?: Record<string, unknown>;
  readonly collectionString?: { readonly string: readonly string[] };
  readonly collectionBytes?: { readonly bytes: readonly Uint8Array[] };
}

/** A binding as registered: its type, direction and whatever else the app gave. */
export interface Binding {
  readonly type: string;
  readonly direction: "in" | "out";
  readonly [key: string]: unknown;
}

/** A duration as the library hands it over: whole seconds. */
interface RpcDuration {
  readonly seconds?: number | string;
}

/** A function's retry policy, only honoured for some triggers. */
export interface RetryOptions {
  readonly maxRetryCount: number;
  readonly retryStrategy: "fixedDelay" | "exponentialBackoff";
  readonly delayInterval?: RpcDuration;
  readonly minimumInterval?: RpcDuration;
  readonly maximumInterval?: RpcDuration;
}

/** What `registerFunction` receives. */
export interface FunctionMetadata {
  readonly name: string;
  readonly bindings: Readonly<Record<string, Binding>>;
  readonly retryOptions?: RetryOptions;
}

/** The app's handler, wrapped by the library. */
export type FunctionCallback = (...args: unknown[]) => unknown;

/** The library's half of an invocation. */
interface InvocationModel {
  getArguments(): Promise<{ context: object; inputs: unknown[] }>;
  invokeFunction(context: object, inputs: unknown[], callback: FunctionCallback): Promise<unknown>;
  getResponse(context: object, result: unknown): Promise<InvocationResponse>;
}

/** The outcome of an invocation as the worker reports it. */
export interface InvocationResponse {
  readonly returnValue?: RpcTypedData | null;
  readonly outputData?: readonly { readonly name: string; readonly data: RpcTypedData }[];
}

/** What `@azure/functions` sets as the programming model. */
interface ProgrammingModel {
  readonly name: string;
  readonly version: string;
  getInvocationModel(coreContext: object): InvocationModel;
  getCapabilities(defaults: Record<string, string>): Promise<Record<string, string>>;
}

/** The version that the host reports; that of the runtime it imitates. */
export const HOST_VERSION = "4.1041.0";

const HOOKS = ["appStart", "appTerminate", "preInvocation", "postInvocation", "log"] as const;
/** The hooks an app can register. */
type HookName = (typeof HOOKS)[number];
type HookCallback = (context: object) => unknown;

/** What the app registered, and the module object that let it. */
export interface CoreApi {
  readonly module: object;
  readonly functions: ReadonlyMap<string, { readonly metadata: FunctionMetadata; readonly callback: FunctionCallback }>;
  model(): ProgrammingModel | undefined;
  /** Runs the hooks of one kind in the order of registration, each awaited. */
  runHooks(name: Exclude<HookName, "log">, context: object): Promise<void>;
  /** Runs the log hooks, which may change `level` and `message` of the context. */
  runLogHooks(context: { level: LogLevel; message: string }): void;
  /** Refuses further registrations of functions, as the worker does once the app has started. */
  seal(): void;
}

class Disposable {
  readonly #dispose: () => void;
  constructor(dispose: () => void) {
    this.#dispose = dispose;
  }
  dispose(): void {
    this.#dispose();
  }
}

/** Creates the module; its functions throw what the worker's throw. */
export function createCoreApi(log: LogSink): CoreApi {
  const functions = new Map<string, { metadata: FunctionMetadata; callback: FunctionCallback }>();
  const hooks = new Map<HookName, HookCallback[]>(HOOKS.map((name) => [name, []]));
  let model: ProgrammingModel | undefined;
  let sealed = false;

  const module = {
    version: "3.12.0",
    hostVersion: HOST_VERSION,
    Disposable,
    setProgrammingModel(value: ProgrammingModel): void {
      model = value;
    },
    getProgrammingModel: (): ProgrammingModel | undefined => model,
    registerFunction(metadata: FunctionMetadata, callback: FunctionCallback): Disposable {
      if (sealed) throw new Error("A function can only be registered during app startup.");
      if (functions.has(metadata.name)) {
        throw new Error(`A function with name "${metadata.name}" has already been registered.`);
      }
      functions.set(metadata.name, { metadata, callback });
      return new Disposable(() => functions.delete(metadata.name));
    },
    registerHook(name: string, callback: HookCallback): Disposable {
      const list = hooks.get(name as HookName);
      if (list === undefined) throw new RangeError(`Unrecognized hook "${name}"`);
      list.push(callback);
      return new Disposable(() => {
        const index = list.indexOf(callback);
        if (index >= 0) list.splice(index, 1);
      });
    },
    log(level: LogLevel, category: string, message: string): void {
      log({ level, category: category === "user" ? "user" : "system", message });
    },
  };

  return {
    module,
    functions,
    model: () => model,
    async runHooks(name, context) {
      for (const callback of hooks.get(name) ?? []) await callback(context);
    },
    runLogHooks(context) {
      for (const callback of hooks.get("log") ?? []) callback(context);
    },
    seal() {
      sealed = true;
    },
  };
}

/** The hook of Node's CommonJS loader that bundlers and instrumentation replace. */
const LOAD = "_load";
type Load = (this: unknown, request: string, ...rest: unknown[]) => unknown;
let injected = false;

/**
 * Makes `require("@azure/functions-core")` return `module` in this process, for good.
 *
 * `@azure/functions` remembers the first answer, so a process can host one app only: a second call throws
 * ALREADY_IN_PROCESS.
 */
export function injectCoreApi(module: object): void {
  if (injected) {
    throw new FunctionsHostError("ALREADY_IN_PROCESS", {
      operation: "start",
      subject: "functions host",
      got: "a second app in one process",
      want: "one, because @azure/functions registers globally",
    });
  }
  injected = true;
  const loader = Module as unknown as { [LOAD]: Load };
  const load = loader[LOAD];
  loader[LOAD] = function (request, ...rest) {
    return request === "@azure/functions-core" ? module : load.call(this, request, ...rest);
  };
}
