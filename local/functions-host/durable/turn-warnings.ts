// Warns about what an orchestrator does that works here but not with the service, or not for long.
import type { Warnings } from "../warnings.ts";
import { EventType } from "./history.ts";
import type { HistoryEvent } from "./history.ts";
import { ActionType } from "./library.ts";
import type { Action, ReplayOutcome } from "./library.ts";
import type { TurnPlan } from "./plan-turn.ts";
import type { Instance } from "./store.ts";

/** Above this many events replays get slow and the service's history pages many. */
const MAX_HISTORY_EVENTS = 1_000;
/** Azure Storage moves larger texts out of the history table into blobs, at a price per replay. */
const MAX_PAYLOAD_BYTES = 60 * 1_024;

/** A committed turn to judge. */
export interface JudgedTurn {
  readonly warnings: Warnings;
  readonly instance: Instance;
  readonly plan: TurnPlan;
  readonly events: readonly HistoryEvent[];
  readonly replay?: ReplayOutcome;
}

/** Raises the warnings that a turn gives reason for. */
export function warnOfTurn({ warnings, instance, plan, events, replay }: JudgedTurn): void {
  const { name } = instance;
  const fail = plan.end?.status === "Failed" ? plan.end.reason : "";
  if (fail.includes("Non-Deterministic workflow detected")) warnings.add("NON_DETERMINISTIC", name, fail);
  if (fail.includes("must not exceed 16 KB")) warnings.add("CUSTOM_STATUS_TOO_LARGE", name, fail);
  if (events.length > MAX_HISTORY_EVENTS) {
    warnings.add("HISTORY_TOO_LONG", name, `more than ${MAX_HISTORY_EVENTS} events; page the work and continue as new`);
  }
  if (plan.end !== undefined && plan.openIds.length > 0) {
    const text = `ended with ${plan.openIds.length} tasks open; it stays Running until they are done (cancel timers)`;
    warnings.add("OPEN_TASKS_AT_END", name, text);
  }
  for (const { Result, Input } of events) {
    const bytes = Math.max(Result?.length ?? 0, Input?.length ?? 0);
    if (bytes > MAX_PAYLOAD_BYTES) warnLarge(warnings, name, "a result or event in its history", bytes);
  }
  for (const item of plan.work) {
    if ("input" in item && item.input.length > MAX_PAYLOAD_BYTES)
      warnLarge(warnings, name, `the input of ${item.name}`, item.input.length);
  }
  if (replay !== undefined) warnOfReplay({ warnings, instance, plan, events }, replay);
}

function warnLarge(warnings: Warnings, name: string, what: string, bytes: number): void {
  warnings.add("LARGE_PAYLOAD", name, `${what} has ${bytes} characters; hand over references instead`);
}

function warnOfReplay({ warnings, instance: { name }, plan, events }: JudgedTurn, replay: ReplayOutcome): void {
  const seen = new Set<Action>();
  for (const action of replay.actions) {
    if (seen.has(action) && action.actionType !== ActionType.WaitForExternalEvent) {
      const text =
        "a task is awaited again in another Task.any or Task.all: the service schedules it again (durable-js#574)";
      warnings.add("REPEATED_ACTIONS", name, text);
    }
    seen.add(action);
  }
  for (const event of replay.staleEvents) {
    const text = `the next '${event}' would go to a finished task and be lost: await an event task in one Task.any only`;
    warnings.add("STALE_EVENT_WAITER", name, text);
  }
  for (const event of replay.unclaimed) {
    const waited = replay.waitedEvents.find((other) => other !== event && other.toLowerCase() === event.toLowerCase());
    if (waited !== undefined) {
      warnings.add(
        "EVENT_NAME_CASE",
        name,
        `'${event}' arrived but '${waited}' is awaited; the library compares with case`,
      );
    }
  }
  if (plan.end?.status === "ContinuedAsNew") {
    const raised = new Set(
      events.filter(({ EventType: type }) => type === EventType.EventRaised).map(({ Name }) => Name),
    );
    const dropped = replay.unclaimed.filter((event) => raised.has(event));
    if (dropped.length > 0) {
      warnings.add(
        "EVENTS_DROPPED",
        name,
        `events ${dropped.join(", ")} were not consumed before continue-as-new and are lost`,
      );
    }
  }
}
