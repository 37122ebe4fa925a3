// Future work of very many devices in batches: one timer of the clock for the next tick, however much is due then.
import type { Clock } from "../clock.ts";

/** Work by the tick it is due in. */
export interface TickQueue<Work> {
  /** Hands `work` over in the first tick that is at least `delayMs` away, in the order of scheduling. */
  schedule(delayMs: number, work: Work): void;
  /** How much is waiting. */
  readonly size: number;
  close(): void;
}

/** Creates a queue whose ticks are the multiples of `tickMs` of the clock's time. */
export function createTickQueue<Work>(clock: Clock, tickMs: number, perform: (work: Work) => void): TickQueue<Work> {
  const ticks = new Map<number, Work[]>();
  let size = 0;
  let armed: { readonly tick: number; readonly cancel: () => void } | undefined;
  let last = Math.floor(clock.now() / tickMs);

  function arm(tick: number): void {
    if (armed !== undefined && armed.tick <= tick) return;
    armed?.cancel();
    armed = { tick, cancel: clock.after(tick * tickMs - clock.now(), fire) };
  }

  function fire(): void {
    const tick = armed?.tick as number;
    armed = undefined;
    last = tick;
    const due = ticks.get(tick) ?? [];
    ticks.delete(tick);
    size -= due.length;
    const errors: unknown[] = [];
    for (const work of due) {
      try {
        perform(work);
      } catch (error) {
        errors.push(error);
      }
    }
    let next = Number.POSITIVE_INFINITY;
    for (const waiting of ticks.keys()) next = Math.min(next, waiting);
    if (next < Number.POSITIVE_INFINITY) arm(next);
    if (errors.length > 0) throw new AggregateError(errors, `tick ${tick}: ${errors.length} of ${due.length} failed`);
  }

  return {
    schedule(delayMs, work) {
      const tick = Math.max(last + 1, Math.ceil((clock.now() + delayMs) / tickMs));
      const waiting = ticks.get(tick);
      if (waiting === undefined) ticks.set(tick, [work]);
      else waiting.push(work);
      size++;
      arm(tick);
    },
    get size() {
      return size;
    },
    close() {
      armed?.cancel();
      ticks.clear();
      size = 0;
    },
  };
}
