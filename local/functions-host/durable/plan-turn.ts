// Decides what one orchestrator turn leads to, as plain data: what to schedule, what to cancel, how it ends.
import { findMismatch } from "./find-mismatch.ts";
import { EventType } from "./history.ts";
import type { FailureDetails } from "./history.ts";
import { ActionType } from "./library.ts";
import { inputOf, planWork, toJson } from "./plan-work.ts";
import type { PlannedWork, TurnFacts } from "./plan-work.ts";

/** Durable's cap on a custom status, in bytes of UTF-16. */
const MAX_CUSTOM_STATUS_BYTES = 16 * 1_024;

/** How an execution ends. */
export type TurnEnd =
  | { readonly status: "Completed"; readonly output: string }
  | {
      readonly status: "Failed";
      readonly output: string;
      readonly reason: string;
      readonly failureDetails?: FailureDetails;
    }
  | { readonly status: "ContinuedAsNew"; readonly input: string };

/** The outcome of a turn. */
export interface TurnPlan {
  readonly work: readonly PlannedWork[];
  readonly canceledTimers: readonly number[];
  /** JSON text; undefined leaves it as it is. */
  readonly customStatus?: string;
  readonly end?: TurnEnd;
  /** Sequence ids that keep the instance from ending, whatever `end` says. */
  readonly openIds: readonly number[];
}

/** Plans a turn; a broken rule (no such function, changed code, too large a status) ends the execution as failed. */
export function planTurn(facts: TurnFacts): TurnPlan {
  const { replay, scheduled, outcomes, state, functionName } = facts;
  const mismatch = findMismatch(facts);
  if (mismatch !== undefined) return failedPlan(functionName, mismatch);

  const statusText = state.customStatus === undefined ? undefined : JSON.stringify(state.customStatus);
  if (statusText !== undefined && statusText.length * 2 > MAX_CUSTOM_STATUS_BYTES) {
    const kilobytes = Math.ceil((statusText.length * 2) / 1_024);
    return failedPlan(
      functionName,
      `The UTF-16 size of the JSON-serialized payload must not exceed 16 KB. The current payload is ${kilobytes} KB.`,
    );
  }

  const work = planWork(facts);
  if (typeof work === "string") return failedPlan(functionName, work);

  const canceled = new Set(replay.open.filter((task) => task.kind === "timer" && task.canceled).map(({ id }) => id));
  const tracked = [
    ...[...scheduled.values()].filter((event) => !outcomes.has(event.EventId)),
    ...work.map(({ fact }) => fact),
  ];
  const end = planEnd(facts);
  return {
    work,
    canceledTimers: [...canceled],
    ...(statusText !== undefined && { customStatus: statusText }),
    ...(end !== undefined && { end }),
    openIds: tracked
      .filter((fact) => fact.EventType !== EventType.EventSent && !canceled.has(fact.EventId as number))
      .map((fact) => fact.EventId as number),
  };
}

/** A plan that ends the execution as failed, with nothing else. */
export function failedPlan(functionName: string, message: string): TurnPlan {
  return { work: [], canceledTimers: [], openIds: [], end: failure(functionName, message) };
}

function failure(functionName: string, message: string, failureDetails?: FailureDetails): TurnEnd {
  const reason = `Orchestrator function '${functionName}' failed: ${message}`;
  return { status: "Failed", output: JSON.stringify(reason), reason, ...(failureDetails && { failureDetails }) };
}

function planEnd({ state, replay, functionName }: TurnFacts): TurnEnd | undefined {
  if (state.error !== undefined) return failure(functionName, state.error, state.failureDetails);
  if (!state.isDone) return undefined;
  const restart = replay.actions.find(({ actionType }) => actionType === ActionType.ContinueAsNew);
  if (restart === undefined) return { status: "Completed", output: toJson(state.output) };
  return { status: "ContinuedAsNew", input: inputOf(restart) };
}
