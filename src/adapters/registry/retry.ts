// Repeats what may succeed later: exponential backoff with jitter, or as long as the other side asked for.
import { setTimeout as wait } from "node:timers/promises";
import type { LighterError } from "../../core/errors.ts";

/** How often and how patiently to try. `attempts` counts the first one; delays are milliseconds. */
export interface RetryPolicy {
  readonly attempts: number;
  readonly baseDelayMs: number;
  readonly maxDelayMs: number;
  readonly sleep: (ms: number) => Promise<unknown>;
  readonly random: () => number;
  readonly now: () => number;
}

/** How one attempt ended; `afterMs` is the pause the other side asked for. */
export type Attempt<T> =
  | { readonly done: T }
  | { readonly failed: LighterError; readonly afterMs?: number | undefined };

/** Five attempts within about ten seconds, unless the other side asks for longer pauses. */
export const DEFAULT_RETRY_POLICY: RetryPolicy = {
  attempts: 5,
  baseDelayMs: 500,
  maxDelayMs: 60_000,
  sleep: (ms) => wait(ms),
  random: Math.random,
  now: Date.now,
};

/** Runs `attempt` until it is done, fails for good (`retryable` false) or the attempts are used up. */
export async function retry<T>(policy: RetryPolicy, attempt: () => Promise<Attempt<T>>): Promise<T> {
  for (let failures = 1; ; failures++) {
    const result = await attempt();
    if ("done" in result) return result.done;
    if (!result.failed.retryable || failures >= policy.attempts) throw result.failed;
    await policy.sleep(pause(policy, failures, result.afterMs));
  }
}

/** The pause after the given number of failures: half fixed, half random, so that many clients do not return at once. */
export function pause({ baseDelayMs, maxDelayMs, random }: RetryPolicy, failures: number, afterMs = 0): number {
  const backoff = baseDelayMs * 2 ** (failures - 1) * (0.5 + random() / 2);
  return Math.round(Math.min(maxDelayMs, Math.max(backoff, afterMs)));
}

/** Reads a Retry-After header, seconds or an HTTP date (RFC 9110 §10.2.3), as milliseconds from now. */
export function parseRetryAfter(value: string | undefined, nowMs: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value.trim())) return Number(value) * 1_000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}
