// Reads what an orchestrator has open from `durable-functions` 3.5, whose executor alone knows the sequence ids.
import { FunctionsHostError } from "../errors.ts";

/** Action types by their wire codes. */
export const ActionType = {
  CallActivity: 0,
  CallActivityWithRetry: 1,
  CallSubOrchestrator: 2,
  CallSubOrchestratorWithRetry: 3,
  ContinueAsNew: 4,
  CreateTimer: 5,
  WaitForExternalEvent: 6,
  CallEntity: 7,
  CallHttp: 8,
  SignalEntity: 9,
  WhenAny: 11,
  WhenAll: 12,
  LockEntities: 13,
  ReleaseEntities: 14,
} as const;

/** A retry policy as `RetryOptions` holds it; durations in ms. */
export interface RetryPolicy {
  readonly firstRetryIntervalInMilliseconds: number;
  readonly maxNumberOfAttempts: number;
  readonly backoffCoefficient?: number;
  readonly maxRetryIntervalInMilliseconds?: number;
  readonly retryTimeoutInMilliseconds?: number;
}

/** A `callHttp` request. */
interface HttpCall {
  readonly method: string;
  readonly uri: string;
  readonly content?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly tokenSource?: unknown;
  readonly asynchronousPatternEnabled?: boolean;
}

/** An action object of the library; the same call keeps the same object within one replay. */
export interface Action {
  readonly actionType: number;
  readonly functionName?: string;
  readonly input?: unknown;
  readonly instanceId?: string;
  readonly version?: string;
  readonly fireAt?: Date;
  readonly isCanceled?: boolean;
  readonly externalEventName?: string;
  readonly operation?: string;
  readonly httpRequest?: HttpCall;
  readonly compoundActions?: readonly Action[];
}

interface Task {
  readonly id: number | string | false;
  readonly action: Action | "noOp";
  readonly state: number;
  readonly parent?: Task;
  readonly children?: readonly Task[];
  readonly isCanceled?: boolean;
  readonly retryOptions?: RetryPolicy;
  readonly innerTask?: Task;
  readonly attemptNumber?: number;
  readonly isWaitingOnTimer?: boolean;
}

/** Something the orchestrator waits for under a sequence id. */
export type OpenTask =
  | { readonly kind: "call"; readonly id: number; readonly action: Action; readonly retried?: FailedAttempt }
  | {
      readonly kind: "timer";
      readonly id: number;
      readonly fireAt: Date;
      readonly canceled: boolean;
      readonly followUp: boolean;
    }
  | { readonly kind: "retryTimer"; readonly id: number; readonly failed: FailedAttempt }
  | {
      readonly kind: "poll";
      readonly id: number;
      readonly action: Action;
      readonly previousId: number;
      /** Whether the delay before this poll is over. */
      readonly ready: boolean;
    };

/** The attempt of a retried call that failed last. */
export interface FailedAttempt {
  readonly policy: RetryPolicy;
  /** How many attempts have failed; at least 1. */
  readonly failures: number;
  readonly firstId: number;
  readonly failedId: number;
}

/** What one replay left behind. */
export interface ReplayOutcome {
  /** In ascending order of id. */
  readonly open: readonly OpenTask[];
  /** Sequence ids and event names whose outcome the orchestrator never asked for. */
  readonly unclaimed: readonly string[];
  /** Names of external events that are waited for. */
  readonly waitedEvents: readonly string[];
  /** Names of events whose next delivery goes to a task that is already completed, and so is lost. */
  readonly staleEvents: readonly string[];
  /** Everything the orchestrator asked for, flattened, in order, each action object as often as it was emitted. */
  readonly actions: readonly Action[];
}

/** `TaskState.Running` of the library. */
const RUNNING = 0;

/** Flattens `WhenAll` and `WhenAny`. */
function flattenActions(actions: readonly Action[]): Action[] {
  return actions.flatMap((action) =>
    action.actionType === ActionType.WhenAll || action.actionType === ActionType.WhenAny
      ? flattenActions(action.compoundActions ?? [])
      : [action],
  );
}

/**
 * Reads `context.df.taskOrchestratorExecutor` after a replay.
 *
 * These are private fields of durable-functions 3.5; a guard test pins them, and another shape throws
 * UNSUPPORTED_LIBRARY instead of guessing.
 */
export function readReplay(context: object): ReplayOutcome {
  const executor = (context as { df?: { taskOrchestratorExecutor?: Record<string, unknown> } }).df
    ?.taskOrchestratorExecutor;
  const { openTasks, openEvents, deferredTasks, actions } = executor ?? {};
  if (!isRecord(openTasks) || !isRecord(openEvents) || !isRecord(deferredTasks) || !Array.isArray(actions)) {
    throw new FunctionsHostError("UNSUPPORTED_LIBRARY", {
      operation: "read open tasks of",
      subject: "durable-functions",
      got: "an executor without openTasks, openEvents, deferredTasks and actions",
      want: "durable-functions 3.5.0",
    });
  }
  const events = Object.entries(openEvents) as [string, Task[]][];
  return {
    open: (Object.values(openTasks) as Task[])
      .filter((task): task is Task & { id: number } => typeof task.id === "number")
      .map(describeTask)
      .sort((a, b) => a.id - b.id),
    unclaimed: Object.keys(deferredTasks),
    waitedEvents: events.filter(([, tasks]) => tasks.some(({ state }) => state === RUNNING)).map(([name]) => name),
    staleEvents: events.filter(([, tasks]) => tasks.every(({ state }) => state !== RUNNING)).map(([name]) => name),
    actions: flattenActions(actions as Action[]),
  };
}

function describeTask(task: Task & { id: number }): OpenTask {
  const { id, action, parent } = task;
  if (action === "noOp") return describeRetry(id, parent);
  const siblings = parent?.children ?? [];
  const position = siblings.indexOf(task);
  if (action.actionType === ActionType.CreateTimer) {
    const isLeg = parent?.action !== "noOp" && parent?.action.actionType === ActionType.CreateTimer;
    const canceled = action.isCanceled === true || (isLeg && parent.isCanceled === true);
    return { kind: "timer", id, fireAt: action.fireAt as Date, canceled, followUp: isFollowUp(parent, position) };
  }
  if (action.actionType === ActionType.CallHttp && position > 0 && isPolling(parent)) {
    const ready = siblings[position - 1]?.state !== RUNNING;
    return { kind: "poll", id, action, previousId: siblings[position - 2]?.id as number, ready };
  }
  return { kind: "call", id, action };
}

/** A no-op of the library stands for a retry's delay or for the next attempt. */
function describeRetry(id: number, parent: Task | undefined): OpenTask {
  const { retryOptions: policy, innerTask: inner, attemptNumber = 1, children = [] } = parent ?? {};
  if (policy === undefined || inner === undefined || typeof inner.id !== "number") {
    throw new FunctionsHostError("UNSUPPORTED_LIBRARY", {
      operation: "read retry of",
      subject: "durable-functions",
      got: `a no-op task ${id} outside a retry`,
      want: "durable-functions 3.5.0",
    });
  }
  const waiting = parent?.isWaitingOnTimer === true;
  const failed: FailedAttempt = {
    policy,
    failures: attemptNumber - 1,
    firstId: inner.id,
    failedId: children[children.length - (waiting ? 2 : 3)]?.id as number,
  };
  return waiting
    ? { kind: "retryTimer", id, failed }
    : { kind: "call", id, action: inner.action as Action, retried: failed };
}

/** Whether a timer was made by the library itself: a further leg of a long timer, or the delay before a poll. */
function isFollowUp(parent: Task | undefined, position: number): boolean {
  if (parent === undefined || parent.action === "noOp") return false;
  return parent.action.actionType === ActionType.CreateTimer
    ? position > 0 || isPolling(parent.parent)
    : isPolling(parent);
}

function isPolling(task: Task | undefined): boolean {
  return task !== undefined && task.action !== "noOp" && task.action.actionType === ActionType.CallHttp;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
