// What follows each look at a run: waiting, collecting, another attempt, another engine, or the end.
import { describe, expect, test } from "vitest";
import {
  decideRun,
  runRulesSchema,
  type PendingStatus,
  type RunFailureCode,
  type RunState,
} from "../../../src/core/release/rebase-run.ts";

const createdAt = "2026-03-09T10:00:00Z";
const rules = runRulesSchema.parse({});
const strict = runRulesSchema.parse({ fallback: "none" });
const pending = (status: PendingStatus): RunState => ({ state: "pending", status, waitsFor: "an agent", createdAt });
const failed = (code: RunFailureCode): RunState => ({
  state: "failed",
  code,
  reason: "it broke",
  log: { run: "r", tail: "" },
});
const decide = (state: RunState, attempt = 1, now = createdAt, given = rules) =>
  decideRun({ state, attempt, now, rules: given });

describe("a run", () => {
  test("that succeeded is collected", () => {
    expect(decide({ state: "succeeded", log: { run: "r", tail: "" } })).toEqual({ act: "collect" });
  });

  test.each(["Queued", "Started", "Running"] as const)("that is %s is waited for, in its words", (status) => {
    expect(decide(pending(status))).toEqual({ act: "wait", reason: "an agent" });
  });

  test("stuck in the queue is canceled, tried once more, then left to the other engine", () => {
    const early = "2026-03-09T10:29:59Z";
    const late = "2026-03-09T10:30:00Z";
    const reason = "no agent took the run within 30 minutes";
    expect(decide(pending("Queued"), 1, early).act).toBe("wait");
    expect(decide(pending("Queued"), 1, late)).toEqual({ act: "start-again", reason, cancel: true });
    expect(decide(pending("Queued"), 2, late)).toEqual({ act: "fall-back", reason, cancel: true });
    expect(decide(pending("Queued"), 2, late, strict)).toEqual({ act: "fail", reason, cancel: true });
    expect(decide(pending("Running"), 2, late).act).toBe("wait");
    expect(decide({ ...pending("Queued"), createdAt: "" } as RunState, 2, late).act).toBe("wait");
  });

  test.each(["RUN_ERROR", "RUN_UNKNOWN"] as const)("with %s is tried again as often as allowed", (code) => {
    expect(decide(failed(code), 1)).toMatchObject({ act: "start-again", cancel: false });
    expect(decide(failed(code), 2)).toMatchObject({ act: "fall-back", reason: "it broke" });
    expect(decide(failed(code), 2, createdAt, strict)).toMatchObject({ act: "fail" });
  });

  test.each(["RUN_FAILED", "RUN_TIMED_OUT"] as const)("with %s would end so again: the other engine has it", (code) => {
    expect(decide(failed(code), 1)).toEqual({ act: "fall-back", reason: "it broke", cancel: false });
    expect(decide(failed(code), 1, createdAt, strict)).toEqual({ act: "fail", reason: "it broke", cancel: false });
  });

  test("that somebody canceled is over, whatever the product allows", () => {
    expect(decide(failed("RUN_CANCELED"))).toEqual({ act: "fail", reason: "it broke", cancel: false });
  });
});
