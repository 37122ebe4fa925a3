// Notices functions that block the event loop, which stops every other function of the process meanwhile.
import type { Warnings } from "./warnings.ts";

const CHECK_MS = 500;
const BLOCKED_MS = 1_000;

/** Counts running functions and watches the event loop while there are any. */
export interface LoopWatch {
  begin(functionName: string): void;
  end(functionName: string): void;
}

/** Creates the watch; it holds no timer while nothing runs. */
export function createLoopWatch(warnings: Warnings): LoopWatch {
  const running = new Map<string, number>();
  /** Functions that ran at some time since the watch was armed. */
  let suspects = new Set<string>();
  let armed = false;

  function arm(): void {
    if (armed) return;
    armed = true;
    const due = performance.now() + CHECK_MS;
    suspects = new Set(running.keys());
    setTimeout(() => {
      armed = false;
      const late = performance.now() - due;
      if (late > BLOCKED_MS) {
        const text = `the event loop stood still for ${Math.round(late)} ms while it ran; timers, leases and other functions wait`;
        warnings.add("BLOCKED_EVENT_LOOP", [...suspects].sort().join(", "), text);
      }
      if (running.size > 0) arm();
    }, CHECK_MS).unref();
  }

  return {
    begin(name) {
      running.set(name, (running.get(name) ?? 0) + 1);
      arm();
      suspects.add(name);
    },
    end(name) {
      const left = (running.get(name) ?? 1) - 1;
      if (left === 0) running.delete(name);
      else running.set(name, left);
    },
  };
}
