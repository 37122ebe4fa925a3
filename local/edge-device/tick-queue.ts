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
  let firing = false;
  let last = Math.floor(clock.now() / tickMs);

  function arm(tick: number): void {
    if (armed !== undefined && armed.tick <= tick) return;
    armed?.cancel();
    armed = { tick, cancel: clock.after(tick * tickMs - clock.now(), fire) };
  }

  /** Works off a tick's entries; what they throw is thrown together when all have had their turn. */
  function work(tick: number, errors: unknown[]): void {
    const due = ticks.get(tick) ?? [];
    ticks.delete(tick);
    size -= due.length;
    for (const entry of due) {
      try {
        perform(entry);
      } catch (error) {
        errors.push(error);
      }
    }
  }

  /** Performs every tick that is due: a clock that runs fast, or a process that was busy, leaves several behind. */
  function fire(): void {
    const now = clock.now();
    const errors: unknown[] = [];
    firing = true;
    for (let tick = findNext(); tick !== undefined && tick * tickMs <= now; tick = findNext()) {
      last = tick;
      work(tick, errors);
    }
    firing = false;
    armed = undefined;
    const next = findNext();
    if (next !== undefined) arm(next);
    if (errors.length > 0) throw new AggregateError(errors, `ticks up to ${last}: ${errors.length} failed`);
  }

  function findNext(): number | undefined {
    let next: number | undefined;
    for (const waiting of ticks.keys()) if (next === undefined || waiting < next) next = waiting;
    return next;
  }

  return {
    schedule(delayMs, work) {
      const tick = Math.max(last + 1, Math.ceil((clock.now() + delayMs) / tickMs));
      const waiting = ticks.get(tick);
      if (waiting === undefined) ticks.set(tick, [work]);
      else waiting.push(work);
      size++;
      if (!firing) arm(tick);
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
