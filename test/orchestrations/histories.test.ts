// Yesterday's histories replayed against today's orchestrators: every turn must ask for what it asked for then. Where a
// change is meant to break releases that are under way, record anew: npm run build && node test/orchestrations/record-histories.ts
import { describe, expect, test } from "vitest";
import { eventsOf, readHistories, type RecordedExecution } from "./histories.ts";
import { createReplayer } from "./replay.ts";

const histories = readHistories();
const run = await createReplayer();

async function replay(execution: RecordedExecution): Promise<unknown[]> {
  const states: unknown[] = [];
  for (const turn of execution.turns) {
    const { name, instanceId, parentInstanceId, input } = execution;
    const { state } = await run({ name, instanceId, parentInstanceId, input, events: eventsOf(execution, turn) });
    const { isDone, output, error } = state;
    states.push({ isDone, output, error, actions: state.actions.flat() });
  }
  return states;
}

function recorded({ turns }: RecordedExecution): unknown[] {
  let actions: readonly unknown[] = [];
  return turns.map(({ kept, more, isDone, output, error }) => {
    actions = [...actions.slice(0, kept), ...more];
    return { isDone, output, error, actions };
  });
}

test("the recordings cover every way a release ends", () => {
  expect(Object.keys(histories).sort()).toEqual([
    "aborted",
    "completed-rebased",
    "completed-whole",
    "failed",
    "nothing-to-do",
    "refused",
    "rolled-back",
    "rolled-back-by-command",
    "superseded",
  ]);
  const executions = Object.values(histories).flat();
  expect(new Set(executions.map(({ name }) => name))).toEqual(new Set(["release", "rollout", "watch"]));
  const continued = executions.filter(({ turns }) => JSON.stringify(turns.at(-1)?.more).includes('"actionType":4'));
  expect(continued.length).toBeGreaterThan(10);
});

describe.each(Object.keys(histories))("the history of a release that ended as %s", (scenario) => {
  test("replays to the same actions at every turn, twice", async () => {
    for (const execution of histories[scenario] ?? []) {
      const states = await replay(execution);
      expect(states, `${execution.name} ${execution.instanceId}`).toEqual(recorded(execution));
      expect(await replay(execution)).toEqual(states);
    }
  });
});

test("a history of other code is told apart", async () => {
  const [execution] = histories["completed-rebased"] ?? [];
  if (execution === undefined) throw new Error("no recording");
  const text = JSON.stringify(execution).replaceAll("rebaseImage", "squashImage");
  const altered = JSON.parse(text) as RecordedExecution;
  expect(await replay(altered)).not.toEqual(recorded(altered));
});
