// The worker's invocation pipeline: arguments, hooks, the app's function, hooks, response.
import { randomUUID } from "node:crypto";
import type { CoreApi, InvocationResponse, RpcTypedData } from "./core-api.ts";
import { FunctionsHostError } from "./errors.ts";
import type { LoadedFunction } from "./functions.ts";
import type { LogLevel, LogSink } from "./log.ts";

/** One call of a function: the trigger's data and what belongs to it. */
export interface Invocation {
  readonly fn: LoadedFunction;
  readonly trigger: RpcTypedData;
  readonly triggerMetadata?: Readonly<Record<string, RpcTypedData>>;
  readonly invocationId?: string;
  readonly retry?: { readonly retryCount: number; readonly maxRetryCount: number };
  /** Takes the place of the decoded trigger value, so that large values need no JSON on their way. */
  readonly value?: unknown;
  /** Leaves out the conversion of the result to RPC data. */
  readonly raw?: boolean;
  /** Receives the context before the function runs, for what is needed even if it throws. */
  readonly onContext?: (context: object) => void;
}

/** What came of an invocation that did not throw. */
export interface InvocationResult {
  readonly context: object;
  /** What the function returned, after the hooks. */
  readonly result: unknown;
  readonly response: InvocationResponse;
}

/** Runs a function; rejects with what the function or a hook threw. */
export type Invoke = (invocation: Invocation) => Promise<InvocationResult>;

/** What the pipeline needs of the host. */
export interface InvokeOptions {
  readonly core: CoreApi;
  readonly log: LogSink;
  /** The data of an extra input binding, by the binding's lower-case type. */
  readonly inputs: ReadonlyMap<string, () => RpcTypedData>;
  /** Told when a function starts and ends. */
  readonly watch: { begin(functionName: string): void; end(functionName: string): void };
}

/** Creates the pipeline, following InvocationHandler of the Node worker. */
export function createInvoke({ core, log, inputs, watch }: InvokeOptions): Invoke {
  const appHookData: Record<string, unknown> = {};

  return async ({ fn, trigger, triggerMetadata, invocationId = randomUUID(), retry, value, raw, onContext }) => {
    const model = core.model();
    if (model === undefined) {
      throw new FunctionsHostError("APP_LOAD_FAILED", {
        operation: "invoke",
        subject: fn.name,
        want: "@azure/functions",
      });
    }
    const coreContext = {
      invocationId,
      metadata: fn.metadata,
      request: {
        invocationId,
        functionId: fn.name,
        inputData: [
          { name: fn.trigger.name, data: trigger },
          ...fn.inputs.map(({ name, type }) => ({ name, data: inputs.get(type.toLowerCase())?.() })),
        ],
        triggerMetadata: triggerMetadata ?? {},
        retryContext: retry,
      },
      state: undefined as string | undefined,
      log(level: LogLevel, category: string, message: string): void {
        const entry = { level, message, category, invocationContext: context, hookData: {}, appHookData };
        core.runLogHooks(entry);
        log({
          level: entry.level,
          category: category === "user" ? "user" : "system",
          message: entry.message,
          functionName: fn.name,
          invocationId,
        });
      },
    };
    let context: object | undefined;

    watch.begin(fn.name);
    try {
      const invocation = model.getInvocationModel(coreContext);
      const args = await invocation.getArguments();
      context = args.context;
      onContext?.(context);
      if (value !== undefined) args.inputs[0] = value;

      const hookData = {};
      const shared = { hookData, appHookData, invocationContext: args.context };
      const before = { ...shared, inputs: args.inputs, functionCallback: fn.callback };
      coreContext.state = "preInvocationHooks";
      await core.runHooks("preInvocation", before);

      const after = { ...shared, inputs: before.inputs, result: undefined as unknown, error: undefined as unknown };
      coreContext.state = "invocation";
      try {
        after.result = await invocation.invokeFunction(args.context, before.inputs, before.functionCallback);
      } catch (error) {
        after.error = error ?? new Error("Unknown error");
      }
      coreContext.state = "postInvocationHooks";
      await core.runHooks("postInvocation", after);
      coreContext.state = undefined;
      if (after.error !== undefined && after.error !== null) throw after.error;

      const response = raw === true ? {} : await invocation.getResponse(args.context, after.result);
      return { context: args.context, result: after.result, response };
    } finally {
      watch.end(fn.name);
    }
  };
}
