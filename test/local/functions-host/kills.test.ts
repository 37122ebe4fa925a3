// `kill -9` at seeded random moments: every orchestration continues, no result is lost, none is applied twice.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import * as fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { parseEvent, outcomeOf } from "../../../local/functions-host/durable/history.ts";
import { count } from "../../counts.ts";
import { makeFolder, optionsFor, startHost } from "./host-process.ts";
import type { HostProcess, Status } from "./host-process.ts";
import { collect, executionsOf, expectedOf, treePlans } from "./trees.ts";
import type { TreePlan } from "./trees.ts";

const PLANS_PER_KILL = 4;
const seed = 9_152_026;
const folder = makeFolder();
const effectsFile = join(folder.path, "effects.log");
afterAll(() => folder.remove());

/** A host that is killed and started again on the same file, and calls that outlive it. */
function createMortalHost(): {
  restart(): Promise<void>;
  current(): Promise<HostProcess>;
  ask<Result>(call: (host: HostProcess) => Promise<Result>): Promise<Result>;
} {
  const originMs = Date.now();
  const settings = { EFFECTS_FILE: effectsFile, ACTIVITY_MS: "3" };
  const options = optionsFor("trees.ts", folder.path, {
    clock: { originMs, scale: 10_000 },
    settings,
    logLevel: "error",
  });
  let current = startHost(options);
  return {
    current: () => current,
    async restart() {
      const before = await current;
      current = before.kill9().then(() => startHost(options));
      await current;
    },
    async ask(call) {
      for (;;) {
        const host = await current;
        try {
          return await call(host);
        } catch (error) {
          // A killed host drops its connections; anything else is a finding.
          if (!(error instanceof TypeError)) throw error;
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
      }
    },
  };
}

test(`work survives ${count("durableKills")} kills`, { timeout: 600_000 }, async () => {
  const kills = count("durableKills");
  const mortal = createMortalHost();
  const plans = fc.sample(treePlans({ countAttempts: false, maxTimerMs: 600_000 }), {
    seed,
    numRuns: kills * PLANS_PER_KILL,
  });
  const moments = fc.sample(fc.integer({ min: 0, max: 200 }), { seed, numRuns: kills });

  async function run(plan: TreePlan, id: string): Promise<unknown> {
    const post = (path: string, body?: unknown): Promise<number> =>
      mortal.ask(async (host) => {
        const response = await host.durable(path, {
          method: "POST",
          ...(body !== undefined && { body: JSON.stringify(body) }),
        });
        await response.arrayBuffer();
        return response.status;
      });
    const status = (): Promise<Status> => mortal.ask((host) => host.status(id));
    // 409: a start whose answer was lost had been accepted.
    expect([202, 409]).toContain(await post(`orchestrators/tree/${id}`, { plan, done: [] }));
    for (const [index, steps] of plan.phases.entries()) {
      for (;;) {
        const { input, runtimeStatus } = await status();
        if (runtimeStatus !== "Pending" && (input as { done: unknown[] }).done.length >= index) break;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      for (const { name, value } of collect(steps, "event")) await post(`instances/${id}/raiseEvent/${name}`, value);
    }
    return (await mortal.ask((host) => host.until(id))).output;
  }

  const runs: Promise<unknown>[] = [];
  for (const [index, moment] of moments.entries()) {
    for (let nth = index * PLANS_PER_KILL; nth < (index + 1) * PLANS_PER_KILL; nth++) {
      const done = run(plans[nth] as TreePlan, `tree${nth}`);
      done.catch(() => undefined);
      runs.push(done);
    }
    await new Promise((resolve) => setTimeout(resolve, moment));
    await mortal.restart();
  }
  const outputs = await Promise.all(runs);

  const executions = readFileSync(effectsFile, "utf8").split("\n");
  const executed = new Set(executions);
  const host = await mortal.current();
  for (const [index, plan] of plans.entries()) {
    expect({ plan, output: outputs[index] }).toEqual({ plan, output: expectedOf(plan) });
    const lost = Object.keys(executionsOf(plan)).filter((key) => !executed.has(`tree${index}.${key}`));
    expect(lost).toEqual([]);
    for (const { entity, value } of collect(plan, "signal")) {
      await expect.poll(async () => (await host.durable(`entities/sum/tree${index}-${entity}`)).json()).toBe(value);
    }
  }
  await host.stop();
  expectNothingTwice(join(folder.path, "host.db"));
  process.stderr.write(
    `${kills} kills, ${plans.length} orchestrations, ${executions.length - executed.size} activities run again\n`,
  );
});

/** Reads the file as it is left: sound, no work item over, no outcome twice in a history. */
function expectNothingTwice(file: string): void {
  const database = new DatabaseSync(file, { readOnly: true });
  expect(database.prepare("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
  for (const table of ["activities", "timers", "inbox", "entity_inbox"]) {
    expect([table, database.prepare(`SELECT count(*) AS left FROM ${table}`).get()]).toEqual([table, { left: 0 }]);
  }
  const rows = database.prepare("SELECT instance_id, event FROM history ORDER BY instance_id, seq").all();
  const outcomes = rows.flatMap((row) => {
    const id = outcomeOf(parseEvent(row["event"] as string));
    return id === undefined ? [] : [`${row["instance_id"] as string} ${id}`];
  });
  expect(outcomes.length).toBeGreaterThan(0);
  expect(new Set(outcomes).size).toBe(outcomes.length);
  database.close();
}
