// A rollout costs a fixed number of IoT Hub calls per stage, whatever the size of its fleet; slots are given once, apart.
import { describe, expect, test } from "vitest";
import { DEFAULT_BEHAVIOUR } from "../../local/edge-device/accounted-behaviour.ts";
import { HUB_NAME, type Stack } from "../../local/stack.ts";
import type { ReleaseView } from "../../src/core/release/view.ts";
import { createStackFixture } from "../support/stack-fixture.ts";

const SMALL = 1_000;
const LARGE = 100_000;

/** Slow enough for the one process that is the hub, the registry and every device to keep up with its clock. */
const TIME_SCALE = 150;

/** Lets the default behaviour's share of trouble through: devices that are away, crawl, or fail their first pulls. */
const GATE = { successPercent: 90, failurePercent: 5, bakeMinutes: 10, timeoutMinutes: 600 };

type Calls = Readonly<Record<string, number>>;

/** What a release asked of the hub: up to its first widening, and from each widening to the next. */
interface Metered {
  readonly before: Calls;
  readonly stages: readonly Calls[];
}

function subtract(now: Calls, earlier: Calls): Calls {
  const left = Object.entries(now).map(([name, calls]): [string, number] => [name, calls - (earlier[name] ?? 0)]);
  return Object.fromEntries(left.filter(([, calls]) => calls > 0));
}

/** Watches the hub's counters; every `configurations.put` is a widening. */
function meterCalls({ hub }: Stack): { finish(): Metered } {
  hub.resetCalls();
  const marks: Calls[] = [];
  const look = (): void => {
    const calls = hub.calls();
    if ((calls["configurations.put"] ?? 0) > marks.length) marks.push(calls);
  };
  const timer = setInterval(look, 1);
  return {
    finish() {
      look();
      clearInterval(timer);
      const ends = [...marks.slice(1), hub.calls()];
      return { before: marks[0] ?? {}, stages: marks.map((mark, index) => subtract(ends[index] ?? {}, mark)) };
    },
  };
}

/** A release to a fleet that has no slots yet: what it asked of the hub, how it ended, and what it took. */
interface Rollout {
  readonly calls: Metered;
  readonly release: ReleaseView;
  readonly seconds: number;
  readonly megabytes: number;
}

async function rollOut(devices: number): Promise<Rollout> {
  const fixture = await createStackFixture({
    timeScale: TIME_SCALE,
    rollout: { gate: GATE },
    hubRules: { slotAssignment: { devicesPerSecond: 1_000 } },
    // Its calls belong to no rollout, and come when the clock says so.
    settings: { "AzureWebJobs.slotDevices.Disabled": "true" },
  });
  try {
    fixture.addFleet(devices, DEFAULT_BEHAVIOUR);
    await fixture.stack.call("POST", "products/detector/baseline", { absent: true });
    const startedAt = performance.now();
    const meter = meterCalls(fixture.stack);
    await fixture.push(await fixture.build(1), "1");
    const release = await fixture.finished("1", 200);
    return {
      calls: meter.finish(),
      release,
      seconds: Math.round((performance.now() - startedAt) / 100) / 10,
      megabytes: Math.round(process.memoryUsage().rss / 2 ** 20),
    };
  } finally {
    await fixture.close();
  }
}

describe("a rollout", () => {
  test(`to ${LARGE} devices makes no more hub calls per stage than one to ${SMALL}`, { timeout: 300_000 }, async () => {
    const rollouts = new Map<number, Rollout>();
    for (const devices of [SMALL, LARGE]) {
      const rollout = await rollOut(devices);
      rollouts.set(devices, rollout);
      const { calls, release, ...cost } = rollout;
      process.stderr.write(`${devices} devices: ${JSON.stringify({ ...cost, ...calls })}\n`);

      expect(release).toMatchObject({ state: "completed" });
      const stages = release.rollouts[HUB_NAME]?.stages ?? [];
      expect(stages.map(({ ring, state }) => [ring, state])).toEqual([
        ["canary", "passed"],
        ["early", "passed"],
        ["fleet", "passed"],
      ]);
      expect(stages.at(-1)?.counts).toMatchObject({ expected: devices, targeted: devices, applied: devices });
      // The devices that have trouble are left behind, and everyone else is there.
      expect(stages.at(-1)?.counts?.running).toBeLessThan(devices);

      // Once in a device's life: a thousand without a slot are found by a query, and a hundred get theirs in a call.
      const { query, "devices.bulk": bulk, ...others } = calls.before;
      expect({ query, bulk }).toEqual({ query: devices / 1_000, bulk: devices / 100 });
      expect(others).toEqual({ "configurations.list": 1, "configurations.get": 1, "configurations.put": 1 });
    }

    const [small, large] = [SMALL, LARGE].map((devices) => rollouts.get(devices)?.calls.stages ?? []);
    expect(small).toHaveLength(3);
    for (const [ring, calls] of (large ?? []).entries()) {
      const most = small?.[ring] ?? {};
      expect(Object.keys(most)).toEqual(expect.arrayContaining(Object.keys(calls)));
      for (const [operation, number] of Object.entries(calls)) {
        expect(number, `${operation} in stage ${ring}`).toBeLessThanOrEqual(most[operation] ?? 0);
      }
    }
  });
});
