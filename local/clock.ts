// The one clock of the embedded stack: real time, real time scaled, or time stepped by a test.

/** A source of time whose timers follow it. All values are milliseconds since the Unix epoch, or durations in ms. */
export interface Clock {
  now(): number;
  /** Runs `callback` once `ms` of this clock's time have passed; returns a function that cancels it. */
  after(ms: number, callback: () => void): () => void;
}

/** How a scaled clock relates to the wall clock: at wall time `originMs` it shows `originMs`, then runs `scale` times as fast. */
export interface ClockSettings {
  readonly originMs: number;
  readonly scale: number;
}

/** Node's timers fire at once when asked to wait longer than this many milliseconds. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * Creates a clock that runs `scale` times as fast as the wall clock; scale 1 is real time.
 *
 * Processes that are handed the same settings show the same time.
 */
export function createScaledClock({ originMs, scale }: ClockSettings): Clock {
  const now = (): number => originMs + (Date.now() - originMs) * scale;
  return {
    now,
    after(ms, callback) {
      const due = now() + ms;
      let timer: NodeJS.Timeout;
      const arm = (): void => {
        const wallMs = Math.max(0, (due - now()) / scale);
        timer = setTimeout(() => (now() >= due ? callback() : arm()), Math.min(Math.ceil(wallMs), MAX_TIMEOUT_MS));
      };
      arm();
      return () => clearTimeout(timer);
    },
  };
}

/** A clock that stands still until a test moves it. */
export interface SteppedClock extends Clock {
  /** Moves time forward by `ms`, firing due timers in order, each at its own time, letting promises settle in between. */
  advance(ms: number): Promise<void>;
}

/** Creates a clock that shows `startMs` until it is advanced. */
export function createSteppedClock(startMs: number): SteppedClock {
  let current = startMs;
  let nextId = 0;
  const timers = new Map<number, { due: number; callback: () => void }>();
  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  return {
    now: () => current,
    after(ms, callback) {
      const id = nextId++;
      timers.set(id, { due: current + Math.max(0, ms), callback });
      return () => timers.delete(id);
    },
    async advance(ms) {
      const target = current + ms;
      for (;;) {
        await settle();
        let next: [number, { due: number; callback: () => void }] | undefined;
        for (const entry of timers) {
          if (entry[1].due <= target && (next === undefined || entry[1].due < next[1].due)) next = entry;
        }
        if (next === undefined) break;
        timers.delete(next[0]);
        current = Math.max(current, next[1].due);
        next[1].callback();
      }
      current = target;
      await settle();
    },
  };
}
