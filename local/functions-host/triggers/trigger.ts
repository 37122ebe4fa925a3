// The contract between the host and its triggers: a trigger serves all functions of its binding types.
import type { Clock } from "../../clock.ts";
import type { RpcTypedData } from "../core-api.ts";
import type { LoadedFunction } from "../functions.ts";
import type { HostJson } from "../host-json.ts";
import type { HttpHandler } from "../http/exchange.ts";
import type { Invocation, InvocationResult } from "../invoke.ts";
import type { HostKeys } from "../keys.ts";
import type { LogSink } from "../log.ts";
import type { Settings } from "../settings.ts";
import type { Storage } from "../storage.ts";
import type { Warnings } from "../warnings.ts";

/** What the host lends to its triggers. */
export interface TriggerHost {
  /** The functions of the trigger's binding types. */
  readonly functions: readonly LoadedFunction[];
  readonly clock: Clock;
  readonly hostJson: HostJson;
  readonly keys: HostKeys;
  readonly log: LogSink;
  readonly settings: Settings;
  readonly storage: Storage;
  readonly warnings: Warnings;
  /** What `getCapabilities` of the library returned, e.g. `HttpUri`. */
  readonly capabilities: Readonly<Record<string, string>>;
  /** `http://127.0.0.1:port`, known before the app is loaded. */
  readonly url: string;
  /** Runs a function and hands its extra outputs to their sinks. */
  invoke(invocation: Invocation): Promise<InvocationResult>;
  /** The same, again after a failure as the function's retry policy says; only for triggers that have one. */
  invokeWithRetry(invocation: Invocation): Promise<InvocationResult>;
}

/** A trigger at work. */
export interface RunningTrigger {
  /** Serves `/runtime/webhooks/<name>/…` behind the system key `<name>_extension`. */
  readonly webhook?: { readonly name: string; readonly handle: HttpHandler };
  /** Serves requests under the route prefix; returns false if no function matches. */
  readonly route?: (exchange: Parameters<HttpHandler>[0]) => Promise<boolean>;
  /** Begins to invoke functions; called once the host listens. */
  start?(): void | Promise<void>;
  /** Stops invoking and waits for what runs. */
  stop?(): Promise<void>;
}

/** A kind of trigger. */
export interface TriggerKind {
  /** Binding types, lower case, e.g. `timertrigger`. */
  readonly types: readonly string[];
  /** Checks the functions' bindings and prepares to serve them; throws a typed error for what it cannot serve. */
  prepare(host: TriggerHost): RunningTrigger | Promise<RunningTrigger>;
  /** The trigger value of a manual run, `POST /admin/functions/<name>` with `{"input": …}`. */
  manual?(fn: LoadedFunction, input: string | undefined): RpcTypedData;
}
