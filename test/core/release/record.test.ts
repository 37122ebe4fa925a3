// How a release record changes: repeated changes change nothing, and what is over stays as it is.
import { describe, expect, test } from "vitest";
import { applyUpdate, type ReleaseRecord, type ReleaseUpdate } from "../../../src/core/release/record.ts";
import { viewRelease } from "../../../src/core/release/view.ts";
import { sampleConfig } from "../../support/config.ts";

const record: ReleaseRecord = {
  id: "detector-000000000000-1",
  product: "detector",
  attempt: 1,
  registry: "127.0.0.1:5000",
  repository: "team/detector",
  tag: "2",
  digest: `sha256:${"2".repeat(64)}`,
  pushedAt: "2026-01-01T00:00:00.000Z",
  trigger: { source: "manual", eventId: "e", why: "first seen" },
  state: "accepted",
  acceptedAt: "2026-01-01T00:00:00.000Z",
  updatedAt: "2026-01-01T00:00:00.000Z",
  steps: {},
  rollouts: {},
};
const T1 = "2026-01-01T00:01:00.000Z";
const T2 = "2026-01-01T00:02:00.000Z";
const stage = { ring: "canary", slots: "00-04", state: "settling", enteredAt: T1 } as const;

describe("applyUpdate", () => {
  test.each<ReleaseUpdate>([
    { startStep: "index" },
    { finishStep: "index" },
    { state: "rolling-out", rollout: { hub: "main", priority: 3, stage } },
    { reason: "because" },
  ])("applied again later, %j keeps the first times", (update) => {
    const once = applyUpdate(record, update, T1);
    expect(applyUpdate(once, update, T2)).toEqual({ ...once, updatedAt: T2 });
  });

  test("merges stages by ring and keeps when each was entered", () => {
    const entered = applyUpdate(record, { rollout: { hub: "main", stage } }, T1);
    const passed = applyUpdate(
      entered,
      { rollout: { hub: "main", stage: { ...stage, state: "passed", enteredAt: T2, finishedAt: T2 } } },
      T2,
    );
    expect(passed.rollouts["main"]?.stages).toEqual([{ ...stage, state: "passed", enteredAt: T1, finishedAt: T2 }]);
  });

  test("never changes a record that is over", () => {
    const over = applyUpdate(record, { state: "aborted", reason: "enough" }, T1);
    expect(over.finishedAt).toBe(T1);
    expect(applyUpdate(over, { state: "completed" }, T2)).toBe(over);
  });
});

describe("viewRelease", () => {
  const { tariff } = sampleConfig();

  test("says what a release waits for, and nothing once it is over", () => {
    expect(viewRelease(record, tariff).waitsFor).toBe("its orchestration to start");
    expect(viewRelease(applyUpdate(record, { startStep: "plan" }, T1), tariff).waitsFor).toBe("step plan");
    const waiting = applyUpdate(record, { rollout: { hub: "main", waitsFor: "the bake" } }, T1);
    expect(viewRelease(waiting, tariff).waitsFor).toBe("main: the bake");
    expect(viewRelease(applyUpdate(waiting, { state: "completed" }, T2), tariff)).not.toHaveProperty("waitsFor");
  });

  test("prices what the targeted devices save", () => {
    const counts = { expected: 1_000, targeted: 1_000, applied: 0, running: 0, failed: 0 };
    const sized = applyUpdate(
      record,
      {
        sizes: { fullBytes: 60_000_000, updateBytes: 7_000, deltaLayerBytes: 2_000 },
        rollout: { hub: "main", stage: { ...stage, counts } },
      },
      T1,
    );
    expect(viewRelease(sized, tariff).saving).toMatchObject({
      devices: 1_000,
      fullBytes: 60e9,
      updateBytes: 7e6,
      fullCost: { amount: 1_440, currency: "USD" },
      updateCost: { amount: 0.17 },
    });
  });
});
