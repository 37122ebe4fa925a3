// Retry policies of activities and sub-orchestrations: how long to wait, and when to stop.
import type { RetryPolicy } from "./library.ts";

/** The delay in ms after `failures` failed attempts (≥ 1): first × coefficient^(failures − 1), at most the maximum. */
export function retryDelayMs(policy: RetryPolicy, failures: number): number {
  const {
    firstRetryIntervalInMilliseconds: first,
    backoffCoefficient = 1,
    maxRetryIntervalInMilliseconds = Infinity,
  } = policy;
  return Math.min(first * backoffCoefficient ** (failures - 1), maxRetryIntervalInMilliseconds);
}

/** Whether the policy's retry timeout, counted from the first attempt, has passed. */
export function isExpired({ retryTimeoutInMilliseconds }: RetryPolicy, firstAttemptMs: number, nowMs: number): boolean {
  return retryTimeoutInMilliseconds !== undefined && nowMs >= firstAttemptMs + retryTimeoutInMilliseconds;
}
