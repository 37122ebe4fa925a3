// All activities, made from their ports, and the form in which their results enter a durable history.
import { isLighterError } from "../core/errors.ts";
import type { ActivityPorts } from "./ports.ts";
import { createPreparationActivities, type PreparationActivities } from "./preparation.ts";
import { createReleaseBook } from "./release-book.ts";
import { createRollbackActivities, type RollbackActivities } from "./rollback.ts";
import { createRolloutActivities, type RolloutActivities } from "./rollout.ts";

/** Every activity by the name under which orchestrations call it. */
export type Activities = PreparationActivities & RolloutActivities & RollbackActivities;

/** What an activity returns to its orchestration: its value, or an error that trying again would not mend. */
export type ActivityResult<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly code: string; readonly message: string };

/** Creates all activities. */
export function createActivities(ports: ActivityPorts): Activities {
  const book = createReleaseBook(ports);
  return {
    ...createPreparationActivities(ports, book),
    ...createRolloutActivities(ports, book),
    ...createRollbackActivities(ports, book),
  };
}

/**
 * Runs an activity for an orchestration: final errors become values, so that Durable's retry policy, which repeats
 * whatever is thrown, only ever sees failures that may pass.
 */
export async function settleActivity<T>(run: () => Promise<T>): Promise<ActivityResult<T>> {
  try {
    return { ok: true, value: await run() };
  } catch (error) {
    if (!isLighterError(error) || error.retryable) throw error;
    return { ok: false, code: error.code, message: error.message };
  }
}
