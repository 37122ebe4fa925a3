// Random orchestrations on a real host: each must return what its plan says, running every activity exactly once.
import * as fc from "fast-check";
import pLimit from "p-limit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { count } from "../../counts.ts";
import { makeFolder, optionsFor, startHost } from "./host-process.ts";
import type { HostProcess, Status } from "./host-process.ts";
import { collect, executionsOf, expectedOf, treePlans } from "./trees.ts";
import type { TreePlan } from "./trees.ts";

const DAY_MS = 86_400_000;
const folder = makeFolder();
const originMs = Date.now();
let host: HostProcess;

beforeAll(async () => {
  // A day passes in 43 ms, so that timers longer than a leg of six days come up as well.
  const clock = { originMs, scale: 2_000_000 };
  host = await startHost(optionsFor("trees.ts", folder.path, { clock, logLevel: "warn" }));
});
afterAll(async () => {
  await host.stop();
  folder.remove();
});

async function run(plan: TreePlan, id: string): Promise<unknown> {
  await host.start("tree", { plan, done: [] }, id);
  // A phase's events come once it has begun, in any order: what is not consumed when it ends is dropped.
  for (const [index, steps] of plan.phases.entries()) {
    await host.until(id, ["Running", "Completed"]);
    while (phaseOf(await host.status(id)) < index) await new Promise(setImmediate);
    for (const { name, value } of collect(steps, "event").toReversed()) await host.raise(id, name, value);
  }
  return (await host.until(id)).output;
}

function phaseOf({ input, runtimeStatus }: Status): number {
  return runtimeStatus === "Completed" ? Infinity : (input as { done: unknown[] }).done.length;
}

test(
  `${count("fuzzedOrchestrations")} random orchestrations return what they should`,
  { timeout: 300_000 },
  async () => {
    const plans = fc.sample(treePlans({ countAttempts: true, maxTimerMs: 9 * DAY_MS }), {
      seed: 20_261_120,
      numRuns: count("fuzzedOrchestrations"),
    });
    const limit = pLimit(20);
    const runs = plans.map((plan, index) =>
      limit(async () => ({ plan, id: `tree${index}`, output: await run(plan, `tree${index}`) })),
    );
    await Promise.all(runs);
    const executions = (await (await host.call("/api/executions")).json()) as Record<string, number>;
    for (const { plan, output, id } of await Promise.all(runs)) {
      expect({ plan, output }).toEqual({ plan, output: expectedOf(plan) });
      const ran = Object.entries(executions).filter(([key]) => key.startsWith(`${id}.`));
      const wanted = Object.entries(executionsOf(plan)).map(([key, times]) => [`${id}.${key}`, times] as const);
      expect(Object.fromEntries(ran)).toEqual(Object.fromEntries(wanted));
    }
  },
);
