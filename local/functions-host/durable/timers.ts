// Fires durable timers: one clock timer for the earliest of them, however many there are.
import type { Clock } from "../../clock.ts";
import { EventType } from "./history.ts";
import type { Instances } from "./instances.ts";
import type { DurableStore } from "./store.ts";

/** The timers' alarm. */
export interface Timers {
  /** Looks again for the earliest timer; call it when timers were added. */
  arm(): void;
  stop(): void;
}

/** Creates the alarm; nothing fires before the first `arm`. */
export function createTimers(store: DurableStore, instances: Instances, clock: Clock): Timers {
  let cancel: (() => void) | undefined;
  let armedFor = Infinity;
  let stopped = false;

  function fire(): void {
    cancel = undefined;
    armedFor = Infinity;
    if (stopped) return;
    store.transaction(() => {
      for (const { instanceId, executionId, taskId, due } of store.listDueTimers(clock.now())) {
        store.deleteTimer(instanceId, executionId, taskId);
        const FireAt = new Date(due).toISOString();
        instances.deliver(instanceId, executionId, { EventType: EventType.TimerFired, TimerId: taskId, FireAt });
      }
    });
    arm();
  }

  function arm(): void {
    if (stopped) return;
    const due = store.nextTimerDue();
    if (due === undefined || due >= armedFor) return;
    cancel?.();
    armedFor = due;
    cancel = clock.after(Math.max(0, due - clock.now()), fire);
  }

  return {
    arm,
    stop() {
      stopped = true;
      cancel?.();
    },
  };
}
