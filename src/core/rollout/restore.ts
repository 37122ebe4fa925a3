// Decides when a rollback is done: the hub has retargeted the exposed devices and they run the previous content again.
import { countAgreement, isSettled, type Agreement, type Observation } from "./stage.ts";

const MS_PER_MINUTE = 60_000;

/** Where a rollback stands; plain data that survives continue-as-new. */
export interface RestoreState {
  readonly enteredAtMs: number;
  readonly agreement: Agreement;
}

/** Wait and look again, or finish: `complete` tells whether every exposed device runs the previous content. */
export type RestoreDecision =
  | { readonly kind: "wait"; readonly state: RestoreState; readonly waitMs: number; readonly waitsFor: string }
  | { readonly kind: "done"; readonly complete: boolean; readonly reason: string };

/**
 * Takes one step of a rollback. After `timeoutMinutes` it is done as far as it goes: devices that are offline receive
 * the previous content when they return, since the rollback's deployment stays in place above the bad one.
 */
export function decideRestore(
  seen: Observation,
  state: RestoreState,
  timeoutMinutes: number,
  pollMs: number,
): RestoreDecision {
  const agreement = countAgreement(seen, state.agreement);
  const facts = `${seen.running} of ${seen.expected} exposed devices run the previous content`;
  if (isSettled(agreement) && seen.running >= seen.targeted) {
    return { kind: "done", complete: true, reason: facts };
  }
  const deadlineMs = state.enteredAtMs + timeoutMinutes * MS_PER_MINUTE;
  if (seen.atMs >= deadlineMs) {
    return { kind: "done", complete: false, reason: `${facts} after ${timeoutMinutes} minutes` };
  }
  return {
    kind: "wait",
    state: { ...state, agreement },
    waitMs: Math.max(1_000, Math.min(pollMs, deadlineMs - seen.atMs)),
    waitsFor: facts,
  };
}
