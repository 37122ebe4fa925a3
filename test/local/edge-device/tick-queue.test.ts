// The queue of future work: by ticks, in order, and all at once when the clock has run ahead of its timers.
import { expect, test } from "vitest";
import type { Clock } from "../../../local/clock.ts";
import { createTickQueue } from "../../../local/edge-device/tick-queue.ts";

/** A clock that a test sets, with timers that fire only when it says so. */
function createLateClock(): Clock & { set(ms: number): void; fire(): void; readonly armed: number } {
  let current = 0;
  let timers: (() => void)[] = [];
  return {
    now: () => current,
    after(_ms, callback) {
      timers.push(callback);
      return () => void (timers = timers.filter((timer) => timer !== callback));
    },
    set: (ms) => void (current = ms),
    fire() {
      for (const timer of timers.splice(0)) timer();
    },
    get armed() {
      return timers.length;
    },
  };
}

test("performs every tick that is due in one turn, in order, and what these schedule in a later one", () => {
  const clock = createLateClock();
  const done: string[] = [];
  const queue = createTickQueue<string>(clock, 1_000, (work) => {
    done.push(work);
    if (work === "second") queue.schedule(0, "after");
  });
  for (const [delayMs, work] of [
    [2_500, "second"],
    [900, "first"],
    [9_500, "last"],
  ] as const) {
    queue.schedule(delayMs, work);
  }
  expect(clock.armed).toBe(1);
  clock.set(7_200);
  clock.fire();
  expect(done).toEqual(["first", "second"]);
  expect([queue.size, clock.armed]).toEqual([2, 1]);
  clock.set(8_000);
  clock.fire();
  expect(done).toEqual(["first", "second", "after"]);
  clock.set(20_000);
  clock.fire();
  expect(done).toEqual(["first", "second", "after", "last"]);
  expect([queue.size, clock.armed]).toEqual([0, 0]);
});

test("performs a tick's work although some of it fails, and says how much did", () => {
  const clock = createLateClock();
  const done: string[] = [];
  const queue = createTickQueue<string>(clock, 1_000, (work) => {
    if (work === "bad") throw new Error("bad");
    done.push(work);
  });
  for (const work of ["bad", "good"]) queue.schedule(500, work);
  queue.schedule(1_500, "later");
  clock.set(1_000);
  expect(() => clock.fire()).toThrowError(/1 failed/);
  clock.set(2_000);
  clock.fire();
  expect(done).toEqual(["good", "later"]);
});
