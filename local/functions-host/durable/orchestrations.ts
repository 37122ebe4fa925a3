// Runs orchestrator turns: replays the history through the app's function and commits what follows in one transaction.
import { messageOf } from "../errors.ts";
import type { LoadedFunction } from "../functions.ts";
import type { Invoke } from "../invoke.ts";
import type { Warnings } from "../warnings.ts";
import { createCommitTurn } from "./commit-turn.ts";
import type { TurnEffects } from "./commit-turn.ts";
import { EventType, toEvent } from "./history.ts";
import type { HistoryEvent } from "./history.ts";
import type { Instances } from "./instances.ts";
import { readReplay } from "./library.ts";
import type { ReplayOutcome } from "./library.ts";
import { addOutcome, createHistoryCache, selectMessages } from "./loaded-history.ts";
import { failedPlan, planTurn } from "./plan-turn.ts";
import type { TurnPlan } from "./plan-turn.ts";
import type { OrchestratorState, TurnFacts } from "./plan-work.ts";
import { isTerminal } from "./store.ts";
import type { DurableStore, Instance } from "./store.ts";
import { warnOfTurn } from "./turn-warnings.ts";

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
const OUT_OF_PROC_LABEL = "\n\n$OutOfProcData$:";

/** What a run of the orchestrator left; no replay if it failed before it had a context. */
interface Ran {
  readonly state: OrchestratorState;
  readonly replay?: ReplayOutcome;
}

/** Creates the function that runs one turn of an instance, if it has anything to do. */
export function createOrchestrations(options: OrchestrationsOptions): (id: string) => Promise<void> {
  const { store, invoke, warnings, now, findFunction, httpSleepMs } = options;
  const cache = createHistoryCache(store);
  const commitTurn = createCommitTurn({ ...options, cache });

  async function run(instance: Instance, fn: LoadedFunction, events: readonly HistoryEvent[]): Promise<Ran> {
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

  return async (id) => {
    const instance = store.readInstance(id);
    if (instance === undefined || isTerminal(instance.status)) {
      store.deleteInbox(id, Number.MAX_SAFE_INTEGER);
      cache.forget(id);
      return;
    }
    if (instance.status === "Suspended") return;
    const inbox = store.readInbox(id);
    const lastSeq = inbox.at(-1)?.seq;
    if (lastSeq === undefined) return;
    const history = cache.load(instance);
    const messages = selectMessages(inbox, instance, history);
    if (messages.length === 0) return store.deleteInbox(id, lastSeq);

    const startedAt = Math.max(now(), history.events.at(-1)?.Timestamp.getTime() ?? 0);
    const fresh = [
      toEvent({ EventType: EventType.OrchestratorStarted }, startedAt),
      ...messages.map(({ fact, at }) => toEvent(fact, at)),
    ];
    const outcomes = new Map(history.outcomes);
    for (const event of fresh) addOutcome(outcomes, event);

    const { executionId, name: functionName } = instance;
    const fn = findFunction("orchestration", functionName);
    const events = [...history.events, ...fresh];
    const noFunction = `The function '${functionName}' doesn't exist or is not an orchestrator function.`;
    const { state, replay }: Ran =
      fn === undefined ? { state: { isDone: false, error: noFunction } } : await run(instance, fn, events);
    const facts = {
      instanceId: id,
      functionName,
      executionId,
      now: startedAt,
      scheduled: history.scheduled,
      outcomes,
      state,
    };
    const findName: TurnFacts["findFunction"] = (kind, name) => findFunction(kind, name)?.name;
    const plan =
      replay === undefined
        ? failedPlan(functionName, state.error ?? "it made no orchestration context")
        : planSafely({ ...facts, replay, findFunction: findName });
    commitTurn({ instance, history, fresh, plan, lastSeq, startedAt });
    warnOfTurn({ warnings, instance, plan, events, ...(replay && { replay }) });
  };
}

/** What cannot be JSON, such as a circular input, fails the orchestration, as it fails in the worker. */
function planSafely(facts: TurnFacts): TurnPlan {
  try {
    return planTurn(facts);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return failedPlan(facts.functionName, error.message);
  }
}

/** The library throws with its state as JSON after a label; anything else is a failure outside the orchestrator's code. */
function readFailure(error: unknown): OrchestratorState {
  const message = messageOf(error);
  const at = message.indexOf(OUT_OF_PROC_LABEL);
  if (at < 0) return { isDone: false, error: message };
  const state = JSON.parse(message.slice(at + OUT_OF_PROC_LABEL.length)) as OrchestratorState;
  return { ...state, error: state.error ?? "" };
}
