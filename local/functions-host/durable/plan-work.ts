// Decides what an orchestrator turn schedules, as plain data, each thing with the history fact that records it.
import { EventType } from "./history.ts";
import type { FailureDetails, HistoryEvent, HistoryFact } from "./history.ts";
import { ActionType } from "./library.ts";
import type { Action, FailedAttempt, OpenTask, ReplayOutcome } from "./library.ts";
import { isExpired, retryDelayMs } from "./retry.ts";

/** The name that Durable gives the activity behind `callHttp`. */
export const HTTP_ACTIVITY = "BuiltIn::HttpActivity";

/** Retries beyond a retry timeout are failed one by one, because only the library can end them; this caps the work. */
const MAX_EXPIRED_ATTEMPTS = 1_000;

/** What a turn can be planned from. */
export interface TurnFacts {
  readonly instanceId: string;
  readonly functionName: string;
  readonly executionId: string;
  readonly now: number;
  /** History events that scheduled something, by sequence id. */
  readonly scheduled: ReadonlyMap<number, HistoryEvent>;
  /** History events that carry an outcome, by the sequence id they belong to. */
  readonly outcomes: ReadonlyMap<number, HistoryEvent>;
  readonly replay: ReplayOutcome;
  /** What the orchestrator returned, or why it failed. */
  readonly state: OrchestratorState;
  /** The registered name of a function, compared without case; undefined if there is none. */
  findFunction(kind: "activity" | "orchestration" | "entity", name: string): string | undefined;
}

/** The part of the library's orchestrator state that counts here. */
export interface OrchestratorState {
  readonly isDone: boolean;
  readonly output?: unknown;
  readonly customStatus?: unknown;
  /** Set when the orchestrator failed. */
  readonly error?: string;
  readonly failureDetails?: FailureDetails;
}

/** Something new to do, with the history fact that records it. */
export type PlannedWork =
  | {
      readonly kind: "activity";
      readonly fact: HistoryFact;
      readonly taskId: number;
      readonly name: string;
      readonly input: string;
    }
  | {
      readonly kind: "subOrchestration";
      readonly fact: HistoryFact;
      readonly taskId: number;
      readonly name: string;
      readonly instanceId: string;
      readonly version?: string;
      readonly input: string;
    }
  | { readonly kind: "timer"; readonly fact: HistoryFact; readonly taskId: number; readonly dueMs: number }
  | { readonly kind: "entityMessage"; readonly fact: HistoryFact; readonly entityId: string; readonly request: string }
  | { readonly kind: "outcome"; readonly fact: HistoryFact; readonly outcome: HistoryFact };

/** Plans all that is new in a turn, in the order the orchestrator made it; a text says why the execution must fail. */
export function planWork(facts: TurnFacts): PlannedWork[] | string {
  const work: PlannedWork[] = [];
  for (const item of listNew(facts)) {
    const planned = planItem(item, facts);
    if (typeof planned === "string") return planned;
    if (planned !== undefined) work.push(planned);
  }
  return work;
}

type NewItem = OpenTask | { readonly kind: "signal"; readonly id: number; readonly action: Action };

/** New open tasks and new signals in the order the orchestrator made them: signals hold the ids that nothing else has. */
function listNew({ replay, scheduled }: TurnFacts): NewItem[] {
  const known = new Set(scheduled.keys());
  const open = new Set(replay.open.map(({ id }) => id));
  const signals = replay.actions.filter(({ actionType }) => actionType === ActionType.SignalEntity);
  const sent = [...scheduled.values()].filter(
    ({ EventType: type, Name }) => type === EventType.EventSent && Name === "signal",
  ).length;
  const items: NewItem[] = replay.open.filter(({ id }) => !known.has(id));
  let id = 0;
  for (const action of signals.slice(sent)) {
    while (known.has(id) || open.has(id)) id++;
    items.push({ kind: "signal", id: id++, action });
  }
  return items.sort((a, b) => a.id - b.id);
}

function planItem(item: NewItem, facts: TurnFacts): PlannedWork | string | undefined {
  switch (item.kind) {
    case "timer":
      // A timer that is cancelled in the turn that made it is recorded but never runs.
      return planTimer(item.id, item.fireAt.getTime(), item.followUp);
    case "retryTimer": {
      const { failed, id } = item;
      if (!isExpiredAttempt(failed, facts))
        return planTimer(id, facts.now + retryDelayMs(failed.policy, failed.failures), true);
      const left = failed.policy.maxNumberOfAttempts - failed.failures;
      if (left > MAX_EXPIRED_ATTEMPTS) {
        return `the retry timeout passed with ${left} attempts left; the library retries until its attempts are used up`;
      }
      return planTimer(id, facts.now, true);
    }
    case "poll":
      return item.ready ? planPoll(item.id, item.action, item.previousId, facts) : undefined;
    case "signal":
      return planEntityMessage(item.id, item.action, true, facts);
    default:
      return planCall(item.id, item.action, item.retried, facts);
  }
}

function planTimer(id: number, dueMs: number, followUp: boolean): PlannedWork {
  const fact = {
    EventType: EventType.TimerCreated,
    EventId: id,
    FireAt: new Date(dueMs).toISOString(),
    ...mark(followUp),
  };
  return { kind: "timer", fact, taskId: id, dueMs };
}

function planCall(
  id: number,
  action: Action,
  retried: FailedAttempt | undefined,
  facts: TurnFacts,
): PlannedWork | string {
  const name = action.functionName ?? "";
  const followUp = mark(retried !== undefined);
  switch (action.actionType) {
    case ActionType.CallActivity:
    case ActionType.CallActivityWithRetry: {
      const found = facts.findFunction("activity", name);
      if (found === undefined) return noSuchFunction(name, "activity");
      const fact = { EventType: EventType.TaskScheduled, EventId: id, Name: found, ...followUp };
      if (retried !== undefined && isExpiredAttempt(retried, facts)) return repeatFailure(id, fact, retried, facts);
      return { kind: "activity", fact, taskId: id, name: found, input: inputOf(action) };
    }
    case ActionType.CallSubOrchestrator:
    case ActionType.CallSubOrchestratorWithRetry: {
      const found = facts.findFunction("orchestration", name);
      if (found === undefined) return noSuchFunction(name, "orchestrator");
      const instanceId = action.instanceId ?? `${facts.executionId}:${id.toString(16).padStart(4, "0")}`;
      const type = EventType.SubOrchestrationInstanceCreated;
      const fact = { EventType: type, EventId: id, Name: found, InstanceId: instanceId, ...followUp };
      if (retried !== undefined && isExpiredAttempt(retried, facts)) return repeatFailure(id, fact, retried, facts);
      const version = action.version === undefined ? {} : { version: action.version };
      return {
        kind: "subOrchestration",
        fact,
        taskId: id,
        name: found,
        instanceId,
        ...version,
        input: toJson(action.input),
      };
    }
    case ActionType.CallEntity:
      return planEntityMessage(id, action, false, facts);
    case ActionType.CallHttp:
      if (action.httpRequest?.tokenSource !== undefined && action.httpRequest.tokenSource !== null) {
        return unsupported("callHttp with a tokenSource");
      }
      return planHttp(id, action, action.httpRequest?.uri ?? "", action.httpRequest?.method ?? "GET", false);
    case ActionType.LockEntities:
      return unsupported("context.df.lock");
    default:
      return unsupported(`action type ${action.actionType}`);
  }
}

function planEntityMessage(id: number, action: Action, isSignal: boolean, facts: TurnFacts): PlannedWork | string {
  const entityId = action.instanceId ?? "";
  const entityName = entityId.slice(1, entityId.indexOf("@", 1));
  if (facts.findFunction("entity", entityName) === undefined) return noSuchFunction(entityName, "entity");
  const input = action.input === undefined ? undefined : JSON.stringify(action.input);
  const request = JSON.stringify({
    op: action.operation,
    signal: isSignal,
    input,
    id: `${facts.executionId}:${id}`,
    parent: facts.instanceId,
  });
  const name = isSignal ? "signal" : "op";
  const fact = { EventType: EventType.EventSent, EventId: id, InstanceId: entityId, Name: name, Input: request };
  return { kind: "entityMessage", fact, entityId, request };
}

function planHttp(id: number, action: Action, uri: string, method: string, followUp: boolean): PlannedWork {
  const fact = { EventType: EventType.TaskScheduled, EventId: id, Name: HTTP_ACTIVITY, ...mark(followUp) };
  const { content, headers } = action.httpRequest ?? {};
  const input = JSON.stringify({ method, uri, headers, ...(!followUp && { content }) });
  return { kind: "activity", fact, taskId: id, name: HTTP_ACTIVITY, input };
}

/** The next poll of an asynchronous HTTP call goes to the Location of the previous 202. */
function planPoll(id: number, action: Action, previousId: number, { outcomes }: TurnFacts): PlannedWork {
  const previous = JSON.parse(outcomes.get(previousId)?.Result ?? "{}") as { headers?: Record<string, string> };
  const location = Object.entries(previous.headers ?? {}).find(([name]) => name.toLowerCase() === "location")?.[1];
  const uri = new URL(location ?? "", action.httpRequest?.uri).href;
  return planHttp(id, action, uri, "GET", true);
}

/** Beyond its retry timeout a call fails as it failed before, without running. */
function repeatFailure(id: number, fact: HistoryFact, retried: FailedAttempt, { outcomes }: TurnFacts): PlannedWork {
  const { Reason, Details, FailureDetails } = outcomes.get(retried.failedId) ?? {};
  const type =
    fact.EventType === EventType.TaskScheduled ? EventType.TaskFailed : EventType.SubOrchestrationInstanceFailed;
  const texts = { Reason: Reason ?? "", Details: Details ?? "", ...(FailureDetails && { FailureDetails }) };
  return { kind: "outcome", fact, outcome: { EventType: type, TaskScheduledId: id, ...texts } };
}

function isExpiredAttempt({ policy, firstId }: FailedAttempt, { scheduled, now }: TurnFacts): boolean {
  const first = scheduled.get(firstId);
  return first !== undefined && isExpired(policy, first.Timestamp.getTime(), now);
}

function noSuchFunction(name: string, kind: string): string {
  return `The function '${name}' doesn't exist, is disabled, or is not an ${kind} function.`;
}

function unsupported(feature: string): string {
  return `UNSUPPORTED_DURABLE_FEATURE: ${feature} is not offered by this host.`;
}

function mark(followUp: boolean): { FollowUp?: true } {
  return followUp ? { FollowUp: true } : {};
}

/** The input of an activity or of a restart as JSON text: the library has made strings, and only strings, JSON already. */
export function inputOf({ input }: Action): string {
  return typeof input === "string" ? input : toJson(input);
}

export function toJson(value: unknown): string {
  return JSON.stringify(value) ?? "null";
}
