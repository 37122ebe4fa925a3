// Runs activities and stores their outcomes, each outcome once, several per transaction.
import { messageOf } from "../errors.ts";
import type { RpcTypedData } from "../core-api.ts";
import type { LoadedFunction } from "../functions.ts";
import type { Invoke } from "../invoke.ts";
import { EventType } from "./history.ts";
import type { FailureDetails, HistoryFact } from "./history.ts";
import type { Instances } from "./instances.ts";
import { createKeyedQueue } from "./keyed-queue.ts";
import { HTTP_ACTIVITY } from "./plan-work.ts";
import type { ActivityItem, DurableStore } from "./store.ts";

/** What activities need. */
export interface ActivitiesOptions {
  readonly store: DurableStore;
  readonly instances: Instances;
  readonly invoke: Invoke;
  readonly maxConcurrent: number;
  findFunction(name: string): LoadedFunction | undefined;
  /** Carries out a `callHttp` request given as JSON text; returns the response as JSON text. */
  callHttp(request: string): Promise<string>;
  failed(what: string, error: unknown): void;
}

/** The running activities. */
export interface Activities {
  add(items: readonly ActivityItem[]): void;
  /** Starts no more, waits for the running ones and stores their outcomes. */
  drain(): Promise<void>;
}

/** Creates the runner; items that a crash interrupts run again after a restart. */
export function createActivities(options: ActivitiesOptions): Activities {
  const { store, instances, invoke, maxConcurrent, findFunction, callHttp, failed } = options;
  const items = new Map<string, ActivityItem>();
  let finished: { item: ActivityItem; fact: HistoryFact }[] = [];

  const queue = createKeyedQueue(maxConcurrent, runItem, failed);

  async function runItem(key: string): Promise<void> {
    const item = items.get(key);
    if (item === undefined) return;
    items.delete(key);
    const fact = await execute(item);
    finished.push({ item, fact });
    if (finished.length === 1) setImmediate(flush);
  }

  function flush(): void {
    const batch = finished;
    finished = [];
    if (batch.length === 0) return;
    try {
      store.transaction(() => {
        for (const { item, fact } of batch) {
          if (store.takeActivity(item.seq)) instances.deliver(item.instanceId, item.executionId, fact);
        }
      });
    } catch (error) {
      failed("outcomes of activities", error);
    }
  }

  async function execute(item: ActivityItem): Promise<HistoryFact> {
    try {
      return { EventType: EventType.TaskCompleted, TaskScheduledId: item.taskId, Result: await run(item) };
    } catch (error) {
      return { EventType: EventType.TaskFailed, TaskScheduledId: item.taskId, ...describeFailure(item.name, error) };
    }
  }

  async function run({ name, input, instanceId }: ActivityItem): Promise<string> {
    if (name === HTTP_ACTIVITY) return callHttp(input);
    const fn = findFunction(name);
    if (fn === undefined)
      throw new Error(`The function '${name}' doesn't exist, is disabled, or is not an activity function.`);
    const triggerMetadata = { instanceId: { string: instanceId } };
    const { response } = await invoke({ fn, trigger: { string: input }, triggerMetadata });
    return toJsonText(response.returnValue);
  }

  return {
    add(added) {
      for (const item of added) {
        items.set(String(item.seq), item);
        queue.wake(String(item.seq));
      }
    },
    async drain() {
      await queue.drain();
      flush();
    },
  };
}

/** An RPC value as JSON text; nothing is `null`, bytes are base64 as .NET writes them. */
function toJsonText(data: RpcTypedData | null | undefined): string {
  if (data === null || data === undefined) return "null";
  if (data.json !== undefined) return data.json;
  if (data.string !== undefined) return JSON.stringify(data.string);
  if (data.bytes !== undefined) return JSON.stringify(Buffer.from(data.bytes).toString("base64"));
  return JSON.stringify(data.int ?? data.double ?? null);
}

interface FailureTexts {
  readonly Reason: string;
  readonly Details: string;
  readonly FailureDetails?: FailureDetails;
}

interface LibraryFailure {
  readonly errorType: string;
  readonly errorMessage: string;
  readonly isNonRetriable: boolean;
  readonly properties: Readonly<Record<string, unknown>>;
  readonly stackTrace?: string;
}

/** The library puts failure details into the message as JSON when the app registered an exception properties provider. */
function describeFailure(name: string, error: unknown): FailureTexts {
  const details = readFailureDetails(messageOf(error));
  const message = details?.ErrorMessage ?? messageOf(error);
  const stack = error instanceof Error && error.stack !== undefined ? error.stack : "";
  return {
    Reason: `Activity function '${name}' failed: ${message}`,
    Details: `Result: Failure\nException: ${message}\nStack: ${stack}`,
    ...(details && { FailureDetails: details }),
  };
}

function readFailureDetails(message: string): FailureDetails | undefined {
  if (!message.startsWith('{"errorType":')) return undefined;
  try {
    const given = JSON.parse(message) as LibraryFailure;
    return {
      ErrorType: given.errorType,
      ErrorMessage: given.errorMessage,
      IsNonRetriable: given.isNonRetriable,
      Properties: given.properties,
      ...(given.stackTrace !== undefined && { StackTrace: given.stackTrace }),
    };
  } catch {
    return undefined;
  }
}
