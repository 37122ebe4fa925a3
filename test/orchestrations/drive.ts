// Drives orchestrators to their end with scripted activities, planning every turn as the functions host does.
import { EventType, outcomeOf, toEvent, isScheduling } from "../../local/functions-host/durable/history.ts";
import type { HistoryEvent, HistoryFact } from "../../local/functions-host/durable/history.ts";
import { planTurn } from "../../local/functions-host/durable/plan-turn.ts";
import type { PlannedWork } from "../../local/functions-host/durable/plan-work.ts";
import { settleActivity } from "../../src/activities/index.ts";
import type { Turn, TurnResult } from "./replay.ts";

/** What the outside does. */
export interface Script {
  /** Answers an activity; what it throws is settled as in the app. */
  activity(name: string, input: never): unknown;
  /** Names an event to raise instead of letting the timer of an idle instance fire. */
  wake?(instanceId: string): string | undefined;
}

/** What was seen while driving. */
export interface Driven {
  readonly status: "Completed" | "Failed";
  readonly output: unknown;
  /** Activities in the order in which they were answered, repeated attempts included. */
  readonly calls: readonly {
    readonly name: string;
    readonly input: Record<string, unknown>;
    readonly instance: string;
  }[];
  /** The length of each execution's history by instance, continued executions one by one. */
  readonly histories: ReadonlyMap<string, readonly number[]>;
  /** Time that passed, in ms. */
  readonly elapsedMs: number;
}

const START_MS = Date.UTC(2026, 0, 5);
const MAX_TURNS = 20_000;

/** Creates the driver; each result is delivered in a turn of its own, which makes the longest history there can be. */
export function createDriver(
  run: (turn: Turn) => Promise<TurnResult>,
): (name: string, instanceId: string, input: unknown, script: Script) => Promise<Driven> {
  return async (name, instanceId, input, script) => {
    const calls: { name: string; input: Record<string, unknown>; instance: string }[] = [];
    const histories = new Map<string, number[]>();
    let nowMs = START_MS;
    let turns = 0;

    async function answer(work: PlannedWork, parent: string): Promise<HistoryFact> {
      const TaskScheduledId = work.fact.EventId ?? -1;
      if (work.kind === "activity") {
        const given = JSON.parse(work.input) as Record<string, unknown>;
        calls.push({ name: work.name, input: given, instance: parent });
        try {
          const result = await settleActivity(async () => script.activity(work.name, given as never));
          return { EventType: EventType.TaskCompleted, TaskScheduledId, Result: JSON.stringify(result) };
        } catch (error) {
          return { EventType: EventType.TaskFailed, TaskScheduledId, Reason: String(error), Details: "" };
        }
      }
      if (work.kind === "subOrchestration") {
        const child = await drive(work.name, work.instanceId, JSON.parse(work.input), parent);
        return child.status === "Completed"
          ? {
              EventType: EventType.SubOrchestrationInstanceCompleted,
              TaskScheduledId,
              Result: JSON.stringify(child.output ?? null),
            }
          : {
              EventType: EventType.SubOrchestrationInstanceFailed,
              TaskScheduledId,
              Reason: String(child.output),
              Details: "",
            };
      }
      throw new Error(`the driver knows no ${work.kind}`);
    }

    async function drive(
      orchestrator: string,
      instance: string,
      firstInput: unknown,
      parent: string | null,
    ): Promise<{ status: "Completed" | "Failed"; output: unknown }> {
      let currentInput = firstInput;
      const lengths: number[] = histories.get(instance) ?? [];
      histories.set(instance, lengths);
      for (;;) {
        const ended = await execute(orchestrator, instance, currentInput, parent);
        lengths.push(ended.length);
        if (ended.status !== "ContinuedAsNew") return { status: ended.status, output: ended.output };
        currentInput = ended.output;
      }
    }

    async function execute(
      orchestrator: string,
      instance: string,
      given: unknown,
      parent: string | null,
    ): Promise<{ status: "Completed" | "Failed" | "ContinuedAsNew"; output: unknown; length: number }> {
      const events: HistoryEvent[] = [];
      const pending: PlannedWork[] = [];
      const timers = new Map<number, number>();
      let message: HistoryFact = {
        EventType: EventType.ExecutionStarted,
        Name: orchestrator,
        Input: JSON.stringify(given) ?? null,
      };
      for (;;) {
        if (++turns > MAX_TURNS) throw new Error(`${instance} did not end within ${MAX_TURNS} turns`);
        for (const event of events) event.IsPlayed = true;
        const scheduled = new Map(events.filter(isScheduling).map((event) => [event.EventId, event]));
        events.push(toEvent({ EventType: EventType.OrchestratorStarted }, nowMs), toEvent(message, nowMs));
        const outcomes = new Map(
          events.flatMap((event) => {
            const id = outcomeOf(event);
            return id === undefined ? [] : [[id, event] as const];
          }),
        );
        const turn = { name: orchestrator, instanceId: instance, parentInstanceId: parent, input: given, events };
        const { state, replay } = await run(turn);
        const plan = planTurn({
          instanceId: instance,
          functionName: orchestrator,
          executionId: "execution",
          now: nowMs,
          scheduled,
          outcomes,
          replay,
          state,
          findFunction: (_kind, found) => found,
        });
        for (const work of plan.work) {
          events.push(toEvent(work.fact, nowMs));
          if (work.kind === "timer") timers.set(work.taskId, work.dueMs);
          else pending.push(work);
        }
        for (const id of plan.canceledTimers) timers.delete(id);
        events.push(toEvent({ EventType: EventType.OrchestratorCompleted }, nowMs));
        if (plan.end !== undefined && plan.openIds.length === 0) {
          const { end } = plan;
          const text = end.status === "ContinuedAsNew" ? end.input : end.output;
          return { status: end.status, output: JSON.parse(text), length: events.length };
        }

        const next = pending.shift();
        const woken = next === undefined && replay.waitedEvents.length > 0 ? script.wake?.(instance) : undefined;
        if (next !== undefined) {
          message = await answer(next, instance);
        } else if (woken !== undefined) {
          message = { EventType: EventType.EventRaised, Name: woken, Input: "{}" };
        } else {
          const [due] = [...timers].sort(([, a], [, b]) => a - b);
          if (due === undefined) throw new Error(`${instance} waits for nothing`);
          timers.delete(due[0]);
          nowMs = Math.max(nowMs, due[1]);
          message = { EventType: EventType.TimerFired, TimerId: due[0], FireAt: new Date(due[1]).toISOString() };
        }
      }
    }

    const { status, output } = await drive(name, instanceId, input, null);
    return { status, output, calls, histories, elapsedMs: nowMs - START_MS };
  };
}
