// Commits an orchestrator turn: its history, all it schedules, cancels and ends, in one transaction or not at all.
import { EventType, toEvent } from "./history.ts";
import type { HistoryEvent, HistoryFact } from "./history.ts";
import type { Instances } from "./instances.ts";
import type { HistoryCache, LoadedHistory } from "./loaded-history.ts";
import type { TurnEnd, TurnPlan } from "./plan-turn.ts";
import type { PlannedWork } from "./plan-work.ts";
import { isTerminal } from "./store.ts";
import type { ActivityItem, DurableStore, Instance } from "./store.ts";

/** A turn that ran and was planned. */
export interface Turn {
  readonly instance: Instance;
  readonly history: LoadedHistory;
  /** The events that the turn added before its plan. */
  readonly fresh: readonly HistoryEvent[];
  readonly plan: TurnPlan;
  /** The last inbox message that the turn took. */
  readonly lastSeq: number;
  readonly startedAt: number;
}

/** What a committed turn leaves to be started. */
export interface TurnEffects {
  readonly activities: readonly ActivityItem[];
  readonly entities: readonly string[];
  readonly timers: boolean;
}

interface MutableEffects extends TurnEffects {
  readonly activities: ActivityItem[];
  readonly entities: string[];
  timers: boolean;
}

/** What a commit needs. */
export interface CommitOptions {
  readonly store: DurableStore;
  readonly instances: Instances;
  readonly cache: HistoryCache;
  now(): number;
  newId(): string;
  wake(id: string): void;
  changed(id: string): void;
  start(effects: TurnEffects): void;
}

/** Creates the function that commits turns. */
export function createCommitTurn(options: CommitOptions): (turn: Turn) => void {
  const { store, instances, cache, now, newId, wake, changed, start } = options;

  /** Stores one planned piece of work; what has to be started once it is committed goes to `effects`. */
  function carryOut(item: PlannedWork, { id, executionId }: Instance, effects: MutableEffects): void {
    switch (item.kind) {
      case "activity": {
        const { taskId, name, input } = item;
        effects.activities.push(store.addActivity({ instanceId: id, executionId, taskId, name, input }));
        break;
      }
      case "subOrchestration": {
        const { name, input, version, taskId } = item;
        const parent = { instanceId: id, executionId, taskId };
        const child = { id: item.instanceId, name, input, parent, ...(version !== undefined && { version }) };
        if (!instances.start(child)) instances.deliver(id, executionId, startConflict(taskId, name, child.id));
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

  /** Writes all that a turn leads to; undefined if nothing of it counts any more. */
  function write(turn: Turn, effects: MutableEffects): { readonly kept?: readonly HistoryEvent[] } | undefined {
    const { fresh, plan, history } = turn;
    const { id, executionId } = turn.instance;
    const latest = store.readInstance(id);
    // Terminated, purged or restarted while the turn ran.
    if (latest === undefined || isTerminal(latest.status) || latest.executionId !== executionId) return undefined;

    store.deleteInbox(id, turn.lastSeq);
    for (const item of plan.work) carryOut(item, latest, effects);
    for (const taskId of plan.canceledTimers) store.deleteTimer(id, executionId, taskId);

    const at = Math.max(now(), turn.startedAt);
    const status = latest.status === "Suspended" ? "Suspended" : "Running";
    const instance: Instance = {
      ...latest,
      status,
      customStatus: plan.customStatus ?? latest.customStatus,
      updatedAt: at,
    };
    // As with the service, an execution ends only when nothing that it scheduled is open.
    const end = plan.openIds.length === 0 ? plan.end : undefined;
    if (end?.status === "ContinuedAsNew") {
      restart(instance, end.input);
      return {};
    }
    const facts = [...plan.work.map(({ fact }) => fact), { EventType: EventType.OrchestratorCompleted }];
    if (end !== undefined) facts.push(endFact(end));
    const events = [...fresh, ...facts.map((fact) => toEvent(fact, at))];
    store.appendHistory(id, history.events.length, events);
    if (end === undefined) {
      store.writeInstance(instance);
      return { kept: events };
    }
    store.writeInstance({ ...instance, status: end.status, output: end.output });
    store.deleteInbox(id, Number.MAX_SAFE_INTEGER);
    store.deleteTimers(id);
    tellParent(instance, end);
    return {};
  }

  /** Begins the next execution; events that this one received and did not consume are gone, as with the service. */
  function restart(instance: Instance, input: string): void {
    const executionId = newId();
    const { id, name, version, updatedAt: at } = instance;
    store.deleteHistory(id);
    store.deleteTimers(id);
    store.writeInstance({ ...instance, executionId, input, createdAt: at });
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

  return (turn) => {
    const { id, status } = turn.instance;
    const effects: MutableEffects = { activities: [], entities: [], timers: false };
    const written = store.transaction(() => write(turn, effects));
    if (written?.kept === undefined) cache.forget(id);
    else cache.extend(id, turn.history, written.kept);
    if (written === undefined) return;
    start(effects);
    if (turn.plan.end !== undefined || status === "Pending") changed(id);
  };
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
