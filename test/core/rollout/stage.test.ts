// Gates: when a stage waits, bakes, passes or fails; and when a rollback is done.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Gate } from "../../../src/core/config.ts";
import { decideRestore, type RestoreState } from "../../../src/core/rollout/restore.ts";
import {
  decideStage,
  enterStage,
  type Observation,
  type StageDecision,
  type StageState,
} from "../../../src/core/rollout/stage.ts";
import { count } from "../../counts.ts";

const MINUTE = 60_000;
const POLL = 5 * MINUTE;
const gate: Gate = {
  successPercent: 90,
  failurePercent: 5,
  minimumFailures: 1,
  bakeMinutes: 10,
  timeoutMinutes: 60,
  onTimeout: "proceed",
};
const look = (minute: number, facts: Partial<Observation>): Observation => ({
  atMs: minute * MINUTE,
  expected: 100,
  targeted: 100,
  applied: 100,
  running: 0,
  failed: 0,
  ...facts,
});

/** Feeds looks to a stage until it decides; each look is `[minute, facts]`. */
function play(looks: [number, Partial<Observation>][], rules = gate): { decision: StageDecision; looks: number } {
  let state = enterStage(0);
  for (const [index, [minute, facts]] of looks.entries()) {
    const decision = decideStage(look(minute, facts), state, rules, POLL);
    if (decision.kind !== "wait" || index === looks.length - 1) return { decision, looks: index + 1 };
    state = decision.state;
  }
  throw new Error("no looks");
}

describe("decideStage", () => {
  test("passes after two agreeing evaluations, success and the bake", () => {
    const healthy = { running: 95 };
    const { decision, looks } = play([
      [5, healthy],
      [10, healthy],
      [15, healthy],
      [20, healthy],
    ]);
    expect(decision).toMatchObject({ kind: "pass" });
    expect(looks).toBe(4);
  });

  test("does not believe counts before the hub has caught up with the widening", () => {
    const { decision } = play([
      [5, { targeted: 40, running: 40 }],
      [10, { targeted: 40, running: 40 }],
      [15, { targeted: 100, running: 40, failed: 60 }],
    ]);
    expect(decision).toMatchObject({ kind: "wait", state: { phase: "settling" } });
  });

  test("counts two looks at one evaluation once", () => {
    const { decision } = play([
      [5, { running: 100 }],
      [6, { running: 100 }],
      [7, { running: 100 }],
    ]);
    expect(decision).toMatchObject({ kind: "wait", state: { phase: "settling", agreement: { evaluations: 1 } } });
  });

  test("fails at once when too many devices failed, in the bake too", () => {
    expect(
      play([
        [5, {}],
        [10, { running: 90, failed: 6 }],
      ]).decision,
    ).toMatchObject({ kind: "fail", reason: "6 of 100 devices failed, more than 5 %" });
    expect(
      play([
        [5, {}],
        [10, { running: 95 }],
        [15, { running: 93, failed: 7 }],
      ]).decision,
    ).toMatchObject({ kind: "fail" });
  });

  test("tolerates failures up to the threshold and below the minimum number", () => {
    const tolerant = { ...gate, failurePercent: 0, minimumFailures: 3 };
    const two = { running: 95, failed: 2 };
    expect(
      play(
        [
          [5, two],
          [10, two],
          [15, two],
          [20, two],
        ],
        tolerant,
      ).decision,
    ).toMatchObject({ kind: "pass" });
  });

  test("starts the bake anew when success did not hold", () => {
    const { decision } = play([
      [5, { running: 95 }],
      [10, { running: 95 }],
      [15, { running: 70 }],
      [20, { running: 95 }],
    ]);
    expect(decision).toMatchObject({ kind: "wait", state: { phase: "baking", bakeUntilMs: 30 * MINUTE } });
  });

  test("leaves silent devices behind at the timeout when those that reported are well", () => {
    const silent: [number, Partial<Observation>][] = [
      [5, { running: 60 }],
      [10, { running: 60 }],
      [60, { running: 60 }],
    ];
    expect(play(silent).decision).toMatchObject({ kind: "pass", reason: expect.stringMatching(/40 did not report/) });
    expect(play(silent, { ...gate, onTimeout: "rollback" }).decision).toMatchObject({ kind: "fail" });
  });

  test("never passes a stage of which nobody reported", () => {
    const { decision } = play([
      [5, {}],
      [10, {}],
      [60, {}],
    ]);
    expect(decision).toMatchObject({ kind: "fail", reason: expect.stringMatching(/0 devices run it/) });
  });

  test("fails when the hub never targets the expected devices", () => {
    const { decision } = play([
      [5, { targeted: 10 }],
      [60, { targeted: 10 }],
    ]);
    expect(decision).toMatchObject({ kind: "fail", reason: expect.stringMatching(/targeted 10 of 100/) });
  });

  test("passes a ring without devices", () => {
    const none = { expected: 0, targeted: 0, applied: 0 };
    const { decision } = play([
      [5, none],
      [10, none],
    ]);
    expect(decision).toMatchObject({ kind: "pass", reason: "no device is in this ring" });
  });

  test("always ends, and passes only where the rules allow it", () => {
    const observation = fc.record({
      targeted: fc.integer({ min: 0, max: 100 }),
      running: fc.integer({ min: 0, max: 100 }),
      failed: fc.integer({ min: 0, max: 100 }),
    });
    fc.assert(
      fc.property(fc.array(observation, { minLength: 20, maxLength: 40 }), (observations) => {
        let state: StageState = enterStage(0);
        let minute = 0;
        for (const facts of observations) {
          minute += 5;
          const running = Math.min(facts.running, facts.targeted);
          const failed = Math.min(facts.failed, facts.targeted - running);
          const seen = look(minute, { ...facts, running, failed });
          const decision = decideStage(seen, state, gate, POLL);
          if (decision.kind === "wait") {
            expect(decision.waitMs).toBeGreaterThanOrEqual(1_000);
            expect(decision.waitMs).toBeLessThanOrEqual(POLL);
            state = decision.state;
            continue;
          }
          const tooMany = failed > 0 && failed * 100 > gate.failurePercent * facts.targeted;
          if (decision.kind === "pass") expect(tooMany).toBe(false);
          return;
        }
        // Settled or not, by its timeout a stage has ended; only a bake that began before may still run.
        expect(minute - gate.timeoutMinutes).toBeLessThanOrEqual(gate.timeoutMinutes * 3);
        expect(state.phase).toBe("baking");
      }),
      { seed: 7, numRuns: count("stageSchedules") },
    );
  });
});

describe("decideRestore", () => {
  const entered: RestoreState = { enteredAtMs: 0, agreement: { evaluations: 0 } };
  const step = (minute: number, facts: Partial<Observation>, state = entered): ReturnType<typeof decideRestore> =>
    decideRestore(look(minute, facts), state, 60, POLL);

  test("is done when every exposed device runs the previous content at two evaluations", () => {
    const first = step(5, { running: 100 });
    expect(first).toMatchObject({ kind: "wait" });
    expect(step(10, { running: 100 }, (first as { state: RestoreState }).state)).toMatchObject({
      kind: "done",
      complete: true,
    });
  });

  test("is done as far as it goes at the timeout", () => {
    expect(step(60, { running: 99 })).toMatchObject({ kind: "done", complete: false });
  });
});
