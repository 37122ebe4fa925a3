// Decides, from what the hub reports, whether a stage of a rollout waits, bakes, has passed or must be rolled back.
import type { Gate } from "../config.ts";

const MS_PER_MINUTE = 60_000;

/** How many evaluations of the hub in a row must show the widened target before its counts are believed. */
const AGREEING_EVALUATIONS = 2;

/** The hub evaluates about every five minutes; looks closer together than this may be at the same evaluation. */
const EVALUATION_MS = 5 * MS_PER_MINUTE;

/** Device counts of one configuration at one evaluation of the hub. */
export interface Observation {
  readonly atMs: number;
  /** Devices that meet the exposed condition, by query. */
  readonly expected: number;
  /** Devices that the hub's own evaluation targets. */
  readonly targeted: number;
  readonly applied: number;
  /** Devices whose agent finished the plan and whose module runs this image in the desired state. */
  readonly running: number;
  /** Devices whose module crashed or whose agent refused the deployment; a pull that goes on or is retried is neither. */
  readonly failed: number;
}

/** Where a stage stands; plain data that survives continue-as-new. */
export interface StageState {
  readonly phase: "settling" | "gating" | "baking";
  readonly enteredAtMs: number;
  readonly agreement: Agreement;
  readonly bakeUntilMs?: number;
}

/** How many evaluations in a row agreed with what is expected, and when the last of them was seen. */
export interface Agreement {
  readonly evaluations: number;
  readonly atMs?: number;
}

/** Whether so many evaluations agreed that the hub's counts describe the exposed devices. */
export const isSettled = ({ evaluations }: Agreement): boolean => evaluations >= AGREEING_EVALUATIONS;

/** Counts one more look at the hub; a look within five minutes of the last may show the same evaluation again. */
export function countAgreement({ atMs, targeted, expected }: Observation, agreement: Agreement): Agreement {
  if (targeted < expected) return { evaluations: 0 };
  if (agreement.atMs !== undefined && atMs - agreement.atMs < EVALUATION_MS) return agreement;
  return { evaluations: agreement.evaluations + 1, atMs };
}

/** What to do next. `waitMs` is how long to leave the hub alone; `waitsFor` says in words what is missing. */
export type StageDecision =
  | { readonly kind: "wait"; readonly state: StageState; readonly waitMs: number; readonly waitsFor: string }
  | { readonly kind: "pass"; readonly reason: string }
  | { readonly kind: "fail"; readonly reason: string };

/** The state of a stage that is entered now. */
export function enterStage(atMs: number): StageState {
  return { phase: "settling", enteredAtMs: atMs, agreement: { evaluations: 0 } };
}

/** Whether the failures are too many; an empty target has none. */
function findTooManyFailures({ failed, targeted }: Observation, gate: Gate): string | undefined {
  if (failed < gate.minimumFailures || failed * 100 <= gate.failurePercent * targeted) return undefined;
  return `${failed} of ${targeted} devices failed, more than ${gate.failurePercent} %`;
}

const meetsSuccess = (good: number, of: number, gate: Gate): boolean => good * 100 >= gate.successPercent * of;

function decideTimeout(seen: Observation, state: StageState, gate: Gate): StageDecision {
  const within = `within ${gate.timeoutMinutes} minutes`;
  if (state.phase === "settling") {
    return { kind: "fail", reason: `the hub targeted ${seen.targeted} of ${seen.expected} devices ${within}` };
  }
  const reported = seen.running + seen.failed;
  const pending = Math.max(0, seen.targeted - reported);
  const facts = `${seen.running} devices run it, ${seen.failed} failed, ${pending} did not report ${within}`;
  if (gate.onTimeout === "proceed" && seen.running > 0 && meetsSuccess(seen.running, reported, gate)) {
    return { kind: "pass", reason: `${facts}; those are left behind` };
  }
  return { kind: "fail", reason: facts };
}

/**
 * Takes one step of a stage.
 *
 * Counts are believed only after the hub's target has reached the expected devices at two evaluations in a row, since
 * metrics describe the earlier set for a while after a widening (IoT Hub evaluates about every five minutes). Too many
 * failures end the stage at once, in the bake too; success must hold when the bake is over.
 */
export function decideStage(seen: Observation, state: StageState, gate: Gate, pollMs: number): StageDecision {
  const deadlineMs = state.enteredAtMs + gate.timeoutMinutes * MS_PER_MINUTE;
  const wait = (next: StageState, waitsFor: string, untilMs = deadlineMs): StageDecision => ({
    kind: "wait",
    state: next,
    waitMs: Math.max(1_000, Math.min(pollMs, untilMs - seen.atMs)),
    waitsFor,
  });

  let current = state;
  if (current.phase === "settling") {
    const agreement = countAgreement(seen, current.agreement);
    if (isSettled(agreement)) {
      if (seen.targeted === 0) return { kind: "pass", reason: "no device is in this ring" };
      current = { ...current, phase: "gating", agreement };
    } else if (seen.atMs >= deadlineMs) {
      return decideTimeout(seen, current, gate);
    } else {
      const agreed = `${agreement.evaluations} of ${AGREEING_EVALUATIONS} evaluations agree`;
      return wait(
        { ...current, agreement },
        `the hub to target ${seen.expected} devices (now ${seen.targeted}, ${agreed})`,
      );
    }
  }

  const failure = findTooManyFailures(seen, gate);
  if (failure !== undefined) return { kind: "fail", reason: failure };

  const healthy = meetsSuccess(seen.running, seen.targeted, gate);
  if (current.phase === "baking" && current.bakeUntilMs !== undefined) {
    const { bakeUntilMs } = current;
    if (healthy && seen.atMs >= bakeUntilMs) {
      return { kind: "pass", reason: `${seen.running} of ${seen.targeted} devices run it after the bake` };
    }
    if (healthy) return wait(current, `the bake, until ${new Date(bakeUntilMs).toISOString()}`, bakeUntilMs);
    current = { phase: "gating", enteredAtMs: current.enteredAtMs, agreement: current.agreement };
  }
  if (healthy) {
    const bakeUntilMs = seen.atMs + gate.bakeMinutes * MS_PER_MINUTE;
    if (gate.bakeMinutes === 0) return { kind: "pass", reason: `${seen.running} of ${seen.targeted} devices run it` };
    return wait(
      { ...current, phase: "baking", bakeUntilMs },
      `the bake, until ${new Date(bakeUntilMs).toISOString()}`,
      bakeUntilMs,
    );
  }
  if (seen.atMs >= deadlineMs) return decideTimeout(seen, current, gate);
  return wait(current, `${gate.successPercent} % of ${seen.targeted} devices to run it (now ${seen.running})`);
}
