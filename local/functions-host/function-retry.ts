// Retry policies of functions (not of Durable calls), honoured for timers and streams of events.
import type { Clock } from "../clock.ts";
import type { RetryOptions } from "./core-api.ts";
import type { Invocation, InvocationResult, Invoke } from "./invoke.ts";

/** The delay in ms before retry `retryCount` (≥ 1). */
export function functionRetryDelayMs(policy: RetryOptions, retryCount: number): number {
  const ms = (duration: RetryOptions["delayInterval"]): number => Number(duration?.seconds ?? 0) * 1_000;
  if (policy.retryStrategy === "fixedDelay") return ms(policy.delayInterval);
  return Math.min(ms(policy.minimumInterval) * 2 ** (retryCount - 1), ms(policy.maximumInterval));
}

/** Wraps a pipeline so that a failing function runs again as its policy says; −1 retries have no end. */
export function createInvokeWithRetry(invoke: Invoke, clock: Clock): Invoke {
  return async (invocation: Invocation): Promise<InvocationResult> => {
    const policy = invocation.fn.metadata.retryOptions;
    if (policy === undefined) return invoke(invocation);
    const { maxRetryCount } = policy;
    for (let retryCount = 0; ; retryCount++) {
      try {
        return await invoke({ ...invocation, retry: { retryCount, maxRetryCount } });
      } catch (error) {
        if (maxRetryCount >= 0 && retryCount >= maxRetryCount) throw error;
        await new Promise<void>((resolve) => clock.after(functionRetryDelayMs(policy, retryCount + 1), resolve));
      }
    }
  };
}
