// An app whose one orchestrator carries out a plan of trees.ts; its activities leave a line per execution in a file.
import { appendFileSync } from "node:fs";
import { app } from "@azure/functions";
import * as df from "durable-functions";
import type { EntityContext, OrchestrationContext, Task, TimerTask } from "durable-functions";
import type { Idle, Step, TaskNode, TreePlan } from "../trees.ts";

type Context = OrchestrationContext["df"];
const retry = (max: number): df.RetryOptions => new df.RetryOptions(1_000, max);
const effects = process.env["EFFECTS_FILE"];
const delayMs = Number(process.env["ACTIVITY_MS"] ?? 0);
const attempts = new Map<string, number>();

/** Leaves a trace of an execution and takes a little while. */
async function work(key: string): Promise<number> {
  if (effects !== undefined) appendFileSync(effects, `${key}\n`);
  const attempt = (attempts.get(key) ?? 0) + 1;
  attempts.set(key, attempt);
  if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
  return attempt;
}

df.app.activity("value", {
  handler: async ({ key, value }: { key: string; value: number }) => {
    await work(key);
    return value;
  },
});
df.app.activity("flaky", {
  handler: async ({ key, value, failures }: { key: string; value: number; failures: number }) => {
    const attempt = await work(key);
    if (attempt <= failures) throw new Error(`attempt ${attempt}`);
    return value;
  },
});
df.app.activity("broken", {
  handler: async (key: string) => {
    await work(key);
    throw new Error(`broken ${key}`);
  },
});
df.app.entity("sum", (context: EntityContext<number>) => {
  const sum = (context.df.getState(() => 0) ?? 0) + (context.df.getInput<number>() ?? 0);
  context.df.setState(sum);
  context.df.return(sum);
});

const entityId = (context: Context, entity: string): df.EntityId =>
  new df.EntityId("sum", `${rootOf(context)}-${entity}`);
/** The id of the outermost orchestration, which sub-orchestrations carry in front of their own. */
const rootOf = (context: Context): string => context.instanceId.split("_")[0] as string;
const keyOf = (context: Context, key: string): string => `${rootOf(context)}.${key}`;

df.app.orchestration("tree", function* (context) {
  const { plan, done } = context.df.getInput<{ plan: TreePlan; done: unknown[] }>();
  const results = [...done, yield* runSteps(context.df, plan.phases[done.length] ?? [])];
  if (results.length < plan.phases.length) context.df.continueAsNew({ plan, done: results });
  return results;
});
df.app.orchestration("subtree", function* (context) {
  return yield* runSteps(context.df, context.df.getInput<Step[]>());
});

function* runSteps(context: Context, steps: readonly Step[]): Generator<Task, unknown[], unknown> {
  const results: unknown[] = [];
  for (const step of steps) {
    switch (step.kind) {
      case "await": {
        const built = build(context, step.task);
        yield built.task;
        results.push(built.read());
        break;
      }
      case "catch":
        try {
          const broken = step.retried
            ? context.callActivityWithRetry("broken", retry(2), keyOf(context, step.key))
            : context.callActivity("broken", keyOf(context, step.key));
          yield context.Task.all([...step.beside.map((node) => build(context, node).task), broken]);
          results.push("not caught");
        } catch (error) {
          const isIt = (error as Error).message.includes(`broken ${keyOf(context, step.key)} `);
          results.push(isIt ? `caught ${step.key}` : (error as Error).message);
        }
        break;
      case "signal":
        context.signalEntity(entityId(context, step.entity), "add", step.value);
        break;
      case "status":
        context.setCustomStatus(step.value);
        break;
    }
  }
  return results;
}

interface Built {
  readonly task: Task;
  /** Reads the result once the task is done, cancelling what it left behind. */
  read(): unknown;
}

function build(context: Context, node: TaskNode): Built {
  const simple = (task: Task): Built => ({ task, read: () => task.result });
  switch (node.kind) {
    case "activity":
      return simple(context.callActivity("value", { key: keyOf(context, node.key), value: node.value }));
    case "retried":
      return simple(
        context.callActivityWithRetry("flaky", retry(node.max), {
          key: keyOf(context, node.key),
          value: node.value,
          failures: node.failures,
        }),
      );
    case "sub": {
      const id = `${context.instanceId}_${node.key}`;
      return simple(
        node.retried
          ? context.callSubOrchestratorWithRetry("subtree", retry(3), node.steps, id)
          : context.callSubOrchestrator("subtree", node.steps, id),
      );
    }
    case "timer":
      return {
        task: context.createTimer(new Date(context.currentUtcDateTime.getTime() + node.ms)),
        read: () => "timer",
      };
    case "event":
      return simple(context.waitForExternalEvent(node.name));
    case "entity":
      return simple(context.callEntity(entityId(context, node.entity), "add", node.value));
    case "all": {
      const children = node.tasks.map((child) => build(context, child));
      return {
        task: context.Task.all(children.map(({ task }) => task)),
        read: () => children.map((child) => child.read()),
      };
    }
    default: {
      const idle = (item: Idle): Task =>
        item.kind === "idleTimer"
          ? context.createTimer(new Date(context.currentUtcDateTime.getTime() + 3_650 * 86_400_000))
          : context.waitForExternalEvent(item.name);
      const [before, quick, after] = [node.before.map(idle), build(context, node.quick), node.after.map(idle)];
      const tasks = [...before, quick.task, ...after];
      const task = context.Task.any(tasks);
      const read = (): unknown => {
        for (const other of [...before, ...after]) if ("cancel" in other) (other as TimerTask).cancel();
        return { winner: tasks.indexOf(task.result as Task), result: quick.read() };
      };
      return { task, read };
    }
  }
}

app.http("executions", { handler: () => ({ jsonBody: Object.fromEntries(attempts) }) });
