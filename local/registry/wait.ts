// Waiting on the stack's clock until its time has come or the registry closes.
import type { Clock } from "../clock.ts";

/** Resolves after `ms` of the clock's time, or at once when `signal` aborts. */
export async function waitOn(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const cancel = clock.after(ms, done);
    signal.addEventListener("abort", done, { once: true });
    function done(): void {
      cancel();
      signal.removeEventListener("abort", done);
      resolve();
    }
  });
}
