// Where trigger events go on their way to becoming releases.
import type { TriggerEvent } from "../core/release/trigger-event.ts";

/** What became of an event. */
export interface IntakeOutcome {
  readonly outcome: "ignored" | "existing" | "opened";
  readonly reason: string;
  readonly releaseId?: string;
}

/** Accepts trigger events; delivery is at least once and in any order. */
export interface ReleaseQueue {
  send(event: TriggerEvent): Promise<IntakeOutcome>;
}
