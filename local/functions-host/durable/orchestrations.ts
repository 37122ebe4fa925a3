// Runs orchestrator turns: replays the history through the app's function and commits what follows in one transaction.
import type { Invoke } from "../invoke.ts";
import { messageOf } from "../errors.ts";
import type { LoadedFunction } from "../functions.ts";
import type { Warnings } from "../warnings.ts";
import { EventType, outcomeOf, toEvent } from "./history.ts";
import type { HistoryEvent, HistoryFact } from "./history.ts";
import type { Instances } from "./instances.ts";
import { readReplay } from "./library.ts";
import type { ReplayOutcome } from "./library.ts";
import { indexHistory, planTurn } from "./plan-turn.ts";
import type { OrchestratorState, TurnEnd, TurnPlan } from "./plan-turn.ts";
import { isTerminal } from "./store.ts";
import type { ActivityItem, DurableStore, InboxMessage, Instance } from "./store.ts";
import { warnOfTurn } from "./turn-warnings.ts";

/** An instance's history with the indexes that planning needs; kept between turns. */
interface LoadedHistory {
  readonly executionId: string;
  events: HistoryEvent[];
  readonly scheduled: Map<number, HistoryEvent>;
  readonly outcomes: Map<number, HistoryEvent>;
}

/** What a committed turn leaves to be started. */
interface TurnEffects {
  readonly activities: readonly ActivityItem[];
  readonly entities: readonly string[];
  readonly timers: boolean;
}

/** What turns need. */
export interface OrchestrationsOptions {
  readonly store: DurableStore;
  readonly instances: Instances;
  readonly invoke: Invoke;
  readonly warnings: Warnings;
  now(): number;
  newId(): string;
  findFunction(kind: "activity" | "orchestration" | "entity", name: string): LoadedFunction | undefined;
  /** host.json's `defaultAsyncRequestSleepTimeMilliseconds`. */
  readonly httpSleepMs: number;
  wake(id: string): void;
  changed(id: string): void;
  start(effects: TurnEffects): void;
}

/** Durable's durations of Azure Storage: timers beyond the first are made of legs of the second. */
const TIMER_DURATIONS = { maximumShortTimerDuration: "6.00:00:00", longRunningTimerIntervalDuration: "3.00:00:00" };
/** Schema V4 of the protocol, the newest that the library knows. */
const SCHEMA_VERSION = 3;
/** How many histories stay in memory between turns. */
const MAX_CACHED = 500;
const OUT_OF_PROC_LABEL = "\n\n$OutOfProcData$:";

/** Creates the function that runs one turn of an instance, if it has anything to do. */
export function createOrchestrations(options: OrchestrationsOptions): (id: string) => Promise<void> {
  const { store, instances, invoke, warnings, now, newId, findFunction, httpSleepMs, wake, changed, start } = options;
  const cache = new Map<string, LoadedHistory>();

  function load(instance: Instance): LoadedHistory {
    const cached = cache.get(instance.id);
    if (cached?.executionId === instance.executionId) return cached;
    const events = store.readHistory(instance.id);
    const outcomes = new Map<number, HistoryEvent>();
    for (const event of events) addOutcome(outcomes, event);
    return { executionId: instance.executionId, events, scheduled: indexHistory(events), outcomes };
  }

  function remember(id: string, history: LoadedHistory): void {
    cache.delete(id);
    cache.set(id, history);
    const oldest = cache.size > MAX_CACHED ? cache.keys().next().value : undefined;
    if (oldest !== undefined) cache.delete(oldest);
  }

  async function replay(
    instance: Instance,
    fn: LoadedFunction,
    events: readonly HistoryEvent[],
  ): Promise<{ state: OrchestratorState; replay?: ReplayOutcome }> {
    let context: object | undefined;
    const value = {
      history: events,
      input: JSON.parse(instance.input) as unknown,
      instanceId: instance.id,
      isReplaying: events.some(({ IsPlayed }) => IsPlayed),
      parentInstanceId: instance.parent?.instanceId ?? null,
      upperSchemaVersion: SCHEMA_VERSION,
      upperSchemaVersionNew: SCHEMA_VERSION,
      defaultHttpAsyncRequestSleepTimeMillseconds: httpSleepMs,
      ...TIMER_DURATIONS,
    };
    let state: OrchestratorState;
    try {
      const onContext = (made: object): void => void (context = made);
      const { result } = await invoke({ fn, trigger: { json: "null" }, value, raw: true, onContext });
      state = result as OrchestratorState;
    } catch (error) {
      state = readFailure(error);
    }
    const hasReplay = context !== undefined && "df" in context && context.df !== undefined;
    return { state, ...(hasReplay && { replay: readReplay(context as object) }) };
  }

  function commit(instance: Instance, history: LoadedHistory, turn: Turn): void {
    const { fresh, plan, lastSeq } = turn;
    const effects = { activities: [] as ActivityItem[], entities: [] as string[], timers: false };
    const committed = store.transaction(() => {
      const latest = store.readInstance(instance.id);
      // Terminated, purged or restarted while the turn ran: nothing of it counts.
      if (latest === undefined || isTerminal(latest.status) || latest.executionId !== instance.executionId)
        return undefined;
      store.deleteInbox(instance.id, lastSeq);
      const at = Math.max(now(), turn.startedAt);
      const { executionId, id } = instance;
      const events = [...fresh, ...plan.work.map(({ fact }) => toEvent(fact, at))];
      for (const item of plan.work) {
        switch (item.kind) {
          case "activity":
            effects.activities.push(
              store.addActivity({
                instanceId: id,
                executionId,
                taskId: item.taskId,
                name: item.name,
                input: item.input,
              }),
            );
            break;
          case "subOrchestration": {
            const { name, input, version } = item;
            const parent = { instanceId: id, executionId, taskId: item.taskId };
            const child = { id: item.instanceId, name, input, parent, ...(version !== undefined && { version }) };
            if (!instances.start(child)) instances.deliver(id, executionId, startConflict(item.taskId, name, child.id));
            break;
          }
          case "timer":
            store.addTimer(id, executionId, item.taskId, item.dueMs);
            effects.timers = true;
            break;
          case "entityMessage":
            store.postEntity(item.entityId, item.request);
            effects.entities.push(item.entityId);
            break;
          case "outcome":
            instances.deliver(id, executionId, item.outcome);
            break;
        }
      }
      const open = new Set(plan.openIds);
      for (const taskId of turn.canceledTimers) store.deleteTimer(id, executionId, taskId);
      const customStatus = plan.customStatus ?? latest.customStatus;
      const end = open.size === 0 ? plan.end : undefined;
      events.push(toEvent({ EventType: EventType.OrchestratorCompleted }, at));
      if (end !== undefined && end.status !== "ContinuedAsNew") events.push(toEvent(endFact(end), at));

      if (end?.status === "ContinuedAsNew") {
        restart({ ...latest, customStatus }, end.input, at);
        return "restarted";
      }
      store.appendHistory(id, history.events.length, events);
      const status = latest.status === "Suspended" ? "Suspended" : "Running";
      if (end === undefined) {
        store.writeInstance({ ...latest, status, customStatus, updatedAt: at });
      } else {
        store.writeInstance({ ...latest, status: end.status, output: end.output, customStatus, updatedAt: at });
        store.deleteInbox(id, Number.MAX_SAFE_INTEGER);
        store.deleteTimers(id);
        tellParent(latest, end);
      }
      return { events, ended: end !== undefined };
    });

    if (committed === undefined || committed === "restarted" || committed.ended) cache.delete(instance.id);
    else remember(instance.id, absorb(history, committed.events));
    if (committed === undefined) return;
    start(effects);
    if (plan.end !== undefined || instance.status === "Pending") changed(instance.id);
  }

  /** Begins the next execution; unconsumed events of this one are gone, as with the service. */
  function restart(instance: Instance, input: string, at: number): void {
    const executionId = newId();
    const { id, name, version } = instance;
    store.deleteHistory(id);
    store.deleteTimers(id);
    store.writeInstance({ ...instance, executionId, input, status: "Running", createdAt: at, updatedAt: at });
    const versioned = version === undefined ? {} : { Version: version };
    store.post(id, executionId, at, { EventType: EventType.ExecutionStarted, Name: name, Input: input, ...versioned });
    wake(id);
  }

  function tellParent({ parent, name }: Instance, end: Exclude<TurnEnd, { status: "ContinuedAsNew" }>): void {
    if (parent === undefined) return;
    const fact: HistoryFact =
      end.status === "Completed"
        ? { EventType: EventType.SubOrchestrationInstanceCompleted, TaskScheduledId: parent.taskId, Result: end.output }
        : {
            EventType: EventType.SubOrchestrationInstanceFailed,
            TaskScheduledId: parent.taskId,
            Reason: `The sub-orchestrator function '${name}' failed: "${end.reason}".`,
            Details: end.reason,
            ...(end.failureDetails && { FailureDetails: end.failureDetails }),
          };
    instances.deliver(parent.instanceId, parent.executionId, fact);
  }

  return async (id) => {
    const instance = store.readInstance(id);
    if (instance === undefined || isTerminal(instance.status)) {
      store.deleteInbox(id, Number.MAX_SAFE_INTEGER);
      cache.delete(id);
      return;
    }
    if (instance.status === "Suspended") return;
    const inbox = store.readInbox(id);
    const lastSeq = inbox.at(-1)?.seq;
    if (lastSeq === undefined) return;
    const history = load(instance);
    const messages = selectMessages(inbox, instance, history);
    if (messages.length === 0) return store.deleteInbox(id, lastSeq);

    const startedAt = Math.max(now(), history.events.at(-1)?.Timestamp.getTime() ?? 0);
    const fresh = [
      toEvent({ EventType: EventType.OrchestratorStarted }, startedAt),
      ...messages.map(({ fact, at }) => toEvent(fact, at)),
    ];
    const outcomes = new Map(history.outcomes);
    for (const event of fresh) addOutcome(outcomes, event);

    const fn = findFunction("orchestration", instance.name);
    const events = [...history.events, ...fresh];
    const outcome =
      fn === undefined
        ? {
            state: {
              isDone: false,
              error: `The function '${instance.name}' doesn't exist or is not an orchestrator function.`,
            },
          }
        : await replay(instance, fn, events);
    const { executionId, name: functionName } = instance;
    const plan: TurnPlan =
      outcome.replay === undefined
        ? { work: [], canceledTimers: [], openIds: [], end: failedEnd(functionName, outcome.state.error ?? "") }
        : planTurn({
            instanceId: id,
            functionName,
            executionId,
            now: startedAt,
            scheduled: history.scheduled,
            outcomes,
            replay: outcome.replay,
            state: outcome.state,
            findFunction: (kind, name) => findFunction(kind, name)?.name,
          });
    commit(instance, history, { fresh, plan, lastSeq, startedAt, canceledTimers: plan.canceledTimers });
    warnOfTurn({ warnings, instance, plan, events, ...(outcome.replay && { replay: outcome.replay }) });
  };
}

interface Turn {
  readonly fresh: HistoryEvent[];
  readonly plan: TurnPlan;
  readonly lastSeq: number;
  readonly startedAt: number;
  readonly canceledTimers: readonly number[];
}

/** Messages for this execution, its start first, each outcome at most once and only of what was scheduled. */
function selectMessages(inbox: readonly InboxMessage[], instance: Instance, history: LoadedHistory): InboxMessage[] {
  const seen = new Set<number>();
  return inbox
    .filter(({ executionId, fact }) => {
      if (executionId !== null && executionId !== instance.executionId) return false;
      const id = outcomeOf(fact);
      if (id === undefined) return true;
      if (seen.has(id) || history.outcomes.has(id) || !history.scheduled.has(id)) return false;
      seen.add(id);
      return true;
    })
    .sort((a, b) => Number(isStart(b)) - Number(isStart(a)));
}

function isStart({ fact }: InboxMessage): boolean {
  return fact.EventType === EventType.ExecutionStarted;
}

function addOutcome(outcomes: Map<number, HistoryEvent>, event: HistoryEvent): void {
  const id = outcomeOf(event);
  if (id !== undefined) outcomes.set(id, event);
}

/** Adds a committed turn's events to the loaded history. */
function absorb(history: LoadedHistory, events: readonly HistoryEvent[]): LoadedHistory {
  for (const event of events) {
    event.IsPlayed = true;
    history.events.push(event);
    addOutcome(history.outcomes, event);
  }
  for (const [id, event] of indexHistory(events)) history.scheduled.set(id, event);
  return history;
}

/** The library throws with its state as JSON after a label; anything else is a failure outside the orchestrator's code. */
function readFailure(error: unknown): OrchestratorState {
  const message = messageOf(error);
  const at = message.indexOf(OUT_OF_PROC_LABEL);
  if (at < 0) return { isDone: false, error: message };
  const state = JSON.parse(message.slice(at + OUT_OF_PROC_LABEL.length)) as OrchestratorState;
  return { ...state, error: state.error ?? "" };
}

function failedEnd(functionName: string, message: string): TurnEnd {
  const reason = `Orchestrator function '${functionName}' failed: ${message}`;
  return { status: "Failed", output: JSON.stringify(reason), reason };
}

function endFact(end: Exclude<TurnEnd, { status: "ContinuedAsNew" }>): HistoryFact {
  return end.status === "Completed"
    ? { EventType: EventType.ExecutionCompleted, Result: end.output }
    : { EventType: EventType.ExecutionFailed, Reason: end.reason };
}

function startConflict(taskId: number, name: string, childId: string): HistoryFact {
  return {
    EventType: EventType.SubOrchestrationInstanceFailed,
    TaskScheduledId: taskId,
    Reason: `The sub-orchestrator function '${name}' could not start.`,
    Details: `An orchestration instance with the id '${childId}' is already running.`,
  };
}
