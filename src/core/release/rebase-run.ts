// A rebase that runs elsewhere for minutes: what is known of it between two looks, and what to do after each look.
import { z } from "zod";

/** What the service says of a run that is not over. */
export type PendingStatus = "Queued" | "Started" | "Running";

/** Why a run gave no image. */
export type RunFailureCode =
  /** The work itself failed: a step ended with an error. */
  | "RUN_FAILED"
  /** Somebody canceled it. */
  | "RUN_CANCELED"
  /** The service failed before or beside the work. */
  | "RUN_ERROR"
  /** It took longer than it may. */
  | "RUN_TIMED_OUT"
  /** The service does not know it (any more). */
  | "RUN_UNKNOWN";

/** The log of a run, without secrets: links to it expire and carry a signature, so they are asked for when needed. */
export interface RunLog {
  /** The ARM id of the run, which names its log for good. */
  readonly run: string;
  /** The last lines, bounded; empty when the log is missing. */
  readonly tail: string;
}

/** A run at one look; small JSON. Times are ISO 8601, or empty where the service does not say. */
export type RunState =
  | {
      readonly state: "pending";
      readonly status: PendingStatus;
      /** What it waits for, in words. */
      readonly waitsFor: string;
      readonly createdAt: string;
    }
  | { readonly state: "succeeded"; readonly log: RunLog }
  | {
      readonly state: "failed";
      readonly code: RunFailureCode;
      readonly reason: string;
      readonly log: RunLog;
    };

/** What a product allows its runs. */
export interface RunRules {
  /** How often the work may be started; 1 = never again. */
  readonly attempts: number;
  /** A run that has waited this long for an agent is given up. */
  readonly queueMinutes: number;
  /** The engine that takes over when runs fail for a reason that need not be the image's. */
  readonly fallback: "direct" | "none";
}

/** How `RunRules` are written, with their defaults. */
export const runRulesSchema: z.ZodType<RunRules> = z.strictObject({
  attempts: z.int().min(1).max(5).default(2),
  queueMinutes: z.number().positive().max(480).default(30).describe("a run that no agent takes is given up"),
  fallback: z.enum(["direct", "none"]).default("direct"),
});

/** What to do next. `cancel` says that the run still has to be ended first. */
export type RunDecision =
  | { readonly act: "wait"; readonly reason: string }
  | { readonly act: "collect" }
  | { readonly act: "start-again"; readonly reason: string; readonly cancel: boolean }
  | { readonly act: "fall-back"; readonly reason: string; readonly cancel: boolean }
  | { readonly act: "fail"; readonly reason: string; readonly cancel: boolean };

/** What a decision is made from; `attempt` counts from 1, `now` is the present in ISO 8601. */
export interface RunFacts {
  readonly state: RunState;
  readonly attempt: number;
  readonly now: string;
  readonly rules: RunRules;
}

const MINUTE_MS = 60_000;

/**
 * Decides what follows a look at a run.
 *
 * Only what the service did wrong is tried again: a step that failed or ran out of time would do so again. A run that
 * somebody canceled is over for good, since to start its work elsewhere would overrule them.
 */
export function decideRun({ state, attempt, now, rules }: RunFacts): RunDecision {
  if (state.state === "succeeded") return { act: "collect" };
  if (state.state === "pending") {
    const queuedMs = state.status === "Queued" ? Date.parse(now) - Date.parse(state.createdAt) : 0;
    // A run that does not say since when it exists cannot be late.
    if (!(queuedMs >= rules.queueMinutes * MINUTE_MS)) return { act: "wait", reason: state.waitsFor };
    const reason = `no agent took the run within ${rules.queueMinutes} minutes`;
    return giveUp(reason, attempt, rules, true);
  }
  const { code, reason } = state;
  if (code === "RUN_CANCELED") return { act: "fail", reason, cancel: false };
  if (code === "RUN_ERROR" || code === "RUN_UNKNOWN") return giveUp(reason, attempt, rules, false);
  return rules.fallback === "direct"
    ? { act: "fall-back", reason, cancel: false }
    : { act: "fail", reason, cancel: false };
}

/** After what need not happen again: the next attempt, else the other engine, else the end. */
function giveUp(reason: string, attempt: number, { attempts, fallback }: RunRules, cancel: boolean): RunDecision {
  if (attempt < attempts) return { act: "start-again", reason, cancel };
  return fallback === "direct" ? { act: "fall-back", reason, cancel } : { act: "fail", reason, cancel };
}
