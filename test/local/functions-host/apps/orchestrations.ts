// An app that uses what `durable-functions` offers: one orchestrator per feature.
import type { InvocationContext } from "@azure/functions";
import * as df from "durable-functions";
import type { EntityContext, OrchestrationContext, Task, TimerTask } from "durable-functions";

type Flow = Generator<Task, unknown, unknown>;
type Context = OrchestrationContext["df"];

function orchestration(name: string, run: (context: Context) => Flow): void {
  df.app.orchestration(name, function* (context) {
    return yield* run(context.df);
  });
}

/** What `callHttp` resolves to. */
interface HttpAnswer {
  readonly statusCode: number;
  readonly content: string;
}

/** Yields a task with the type of what it resolves to. */
function* wait<Result>(task: Task): Generator<Task, Result, unknown> {
  return (yield task) as Result;
}

const after = (context: Context, ms: number): Date => new Date(context.currentUtcDateTime.getTime() + ms);

const attempts = new Map<string, number>();
df.app.activity("echo", { handler: (input: unknown) => input });
df.app.activity("nothing", { handler: () => undefined });
df.app.activity("instanceOf", {
  handler: (_input: unknown, context: InvocationContext) => context.triggerMetadata?.["instanceId"],
});
df.app.activity("fail", {
  handler: (text: string) => {
    throw new Error(text);
  },
});
df.app.activity("failUntil", {
  handler: ({ id, attempt }: { id: string; attempt: number }) => {
    const now = (attempts.get(id) ?? 0) + 1;
    attempts.set(id, now);
    if (now < attempt) throw new Error(`attempt ${now}`);
    return now;
  },
});
df.app.activity("refuse", {
  handler: () => {
    throw Object.assign(new RangeError("too much"), { limit: 7 });
  },
});
df.app.setExceptionPropertiesProvider({
  getExceptionProperties: (error) =>
    error instanceof RangeError && "limit" in error ? { limit: error.limit } : undefined,
});
let parallel = 0;
let mostParallel = 0;
df.app.activity("takeTurns", {
  handler: async () => {
    mostParallel = Math.max(mostParallel, ++parallel);
    await new Promise((resolve) => setTimeout(resolve, 5));
    parallel--;
    return mostParallel;
  },
});

orchestration("sequence", function* (context) {
  const first = yield* wait<string>(context.callActivity("echo", "a"));
  const second = yield* wait<number>(context.callActivity("echo", 2));
  const third = yield* wait<unknown>(context.callActivity("ECHO", { three: [3] }));
  const fourth = yield* wait<unknown>(context.callActivity("nothing"));
  const number = yield* wait<string>(context.callActivity("echo", "5"));
  return [first, second, third, fourth, number, context.getInput()];
});

orchestration("fanOut", function* (context) {
  const tasks = Array.from({ length: context.getInput<number>() }, (_, index) => context.callActivity("echo", index));
  const results = yield* wait<number[]>(context.Task.all(tasks));
  return results.reduce((sum, value) => sum + value, 0);
});

orchestration("fails", function* (context) {
  yield context.callActivity("echo", 1);
  throw new Error(context.getInput<string>());
});

orchestration("catches", function* (context) {
  try {
    return yield* wait(context.callActivity("fail", "broken"));
  } catch (error) {
    return (error as Error).message.split("\n")[0];
  }
});

orchestration("catchesDetails", function* (context) {
  try {
    yield context.callActivity("refuse");
    return "not refused";
  } catch (error) {
    const { errorType, errorMessage, properties } = (error as df.TaskFailedError).failureDetails;
    return { errorType, errorMessage, properties };
  }
});

orchestration("parallel", function* (context) {
  const results = yield* wait<number[]>(
    context.Task.all(Array.from({ length: 20 }, () => context.callActivity("takeTurns"))),
  );
  return Math.max(...results);
});

orchestration("tellsVersion", function* (context) {
  yield context.callActivity("nothing");
  return context.version;
});

orchestration("unknownActivity", function* (context) {
  return yield* wait(context.callActivity("missing", 1));
});

orchestration("retries", function* (context) {
  const { id, attempt, max } = context.getInput<{ id: string; attempt: number; max: number }>();
  const started = context.currentUtcDateTime.getTime();
  const options = new df.RetryOptions(60_000, max);
  options.backoffCoefficient = 2;
  options.maxRetryIntervalInMilliseconds = 180_000;
  try {
    const result = yield* wait(context.callActivityWithRetry("failUntil", options, { id, attempt }));
    return { result, ms: context.currentUtcDateTime.getTime() - started };
  } catch (error) {
    return { error: (error as Error).message.split("\n")[0], ms: context.currentUtcDateTime.getTime() - started };
  }
});

orchestration("retryTimeout", function* (context) {
  const options = new df.RetryOptions(60_000, 20);
  options.retryTimeoutInMilliseconds = 150_000;
  try {
    return yield* wait(context.callActivityWithRetry("fail", options, "always"));
  } catch (error) {
    return (error as Error).message.split("\n")[0];
  }
});

orchestration("child", function* (context) {
  const input = context.getInput<{ fail?: boolean; value?: unknown; ms?: number }>();
  if (input.ms !== undefined) yield context.createTimer(after(context, input.ms));
  if (input.fail === true) throw new Error("child failed");
  return [context.instanceId, context.parentInstanceId, yield* wait(context.callActivity("echo", input.value ?? "x"))];
});

orchestration("parent", function* (context) {
  const unnamed = yield* wait<string[]>(context.callSubOrchestrator("child", { value: "one" }));
  const named = yield* wait<string[]>(
    context.callSubOrchestrator("child", { value: "two" }, `${context.instanceId}-named`),
  );
  let caught = "";
  try {
    yield context.callSubOrchestratorWithRetry("child", new df.RetryOptions(1_000, 2), { fail: true });
  } catch (error) {
    caught = (error as Error).message;
  }
  return { unnamed, named, caught };
});

orchestration("longTimer", function* (context) {
  const started = context.currentUtcDateTime.getTime();
  yield context.createTimer(after(context, context.getInput<number>()));
  return context.currentUtcDateTime.getTime() - started;
});

orchestration("eventOrTimer", function* (context) {
  const timer = context.createTimer(after(context, 86_400_000));
  const event = context.waitForExternalEvent("go");
  const winner = yield* wait<Task>(context.Task.any([event, timer]));
  if (winner === event) timer.cancel();
  return winner === event ? event.result : "timeout";
});

orchestration("abandonedTimer", function* (context) {
  const timer = context.createTimer(after(context, context.getInput<number>()));
  yield context.Task.any([context.callActivity("echo", 1), timer]);
  return "done";
});

orchestration("cancelledLongTimer", function* (context) {
  const timer: TimerTask = context.createTimer(after(context, 20 * 86_400_000));
  yield context.Task.any([context.callActivity("echo", 1), timer]);
  timer.cancel();
  return "done";
});

orchestration("events", function* (context) {
  yield context.callActivity("gate", context.instanceId);
  const seen: unknown[] = [];
  for (let index = 0; index < context.getInput<number>(); index++) {
    seen.push(yield* wait(context.waitForExternalEvent("item")));
  }
  return seen;
});

orchestration("callsWaiting", function* (context) {
  try {
    return yield* wait(context.callSubOrchestrator("waitsForGo", null, `${context.instanceId}-waiting`));
  } catch (error) {
    return (error as Error).message;
  }
});

orchestration("waitsForGo", function* (context) {
  return yield* wait(context.waitForExternalEvent("go"));
});

orchestration("nested", function* (context) {
  const slow = context.createTimer(after(context, 3_600_000));
  const pair = context.Task.all([
    context.callActivity("echo", "a"),
    context.callSubOrchestrator("child", { value: "b" }, `${context.instanceId}-b`),
  ]);
  const either = context.Task.any([pair, slow]);
  const winner = yield* wait<Task>(either);
  slow.cancel();
  return [winner === pair, (pair.result as unknown[])[0], (pair.result as unknown[][])[1]?.[2]];
});

orchestration("allWithFailure", function* (context) {
  try {
    yield context.Task.all([
      context.callActivity("echo", 1),
      context.callActivity("fail", "one"),
      context.callActivity("echo", 2),
    ]);
    return "no failure";
  } catch (error) {
    return (error as Error).message.split("\n")[0];
  }
});

orchestration("countsDown", function* (context) {
  const { left, seen } = context.getInput<{ left: number; seen: string[] }>();
  const text = yield* wait<string>(context.callActivity("echo", `n${left}`));
  if (left === 0) return [...seen, text];
  context.continueAsNew({ left: left - 1, seen: [...seen, text] });
  return undefined;
});

orchestration("restartsWithText", function* (context) {
  const text = context.getInput<string>();
  yield context.callActivity("nothing");
  if (text.length < 4) context.continueAsNew(`${text}!`);
  return text;
});

orchestration("dropsEvents", function* (context) {
  const { round } = context.getInput<{ round: number }>();
  if (round === 0) {
    yield context.callActivity("gate", context.instanceId);
    context.continueAsNew({ round: 1 });
    return "never seen";
  }
  return yield* wait(context.waitForExternalEvent("extra"));
});

orchestration("reportsStatus", function* (context) {
  context.setCustomStatus({ step: 1 });
  yield context.waitForExternalEvent("next");
  context.setCustomStatus({ text: "x".repeat(context.getInput<number>()) });
  yield context.waitForExternalEvent("end");
  return "ended";
});

orchestration("callsCounter", function* (context) {
  const entity = new df.EntityId("counter", context.instanceId);
  context.signalEntity(entity, "add", 5);
  const before = yield* wait<number>(context.callEntity(entity, "get"));
  context.signalEntity(entity, "add", 2);
  yield context.callActivity("echo", 1);
  const [then, failed] = yield* wait<[number, string]>(
    context.Task.all([context.callEntity(entity, "get"), context.callEntity(entity, "add", 10)]),
  );
  return [before, then, failed, yield* wait<number>(context.callEntity(entity, "get"))];
});

orchestration("callsFailingEntity", function* (context) {
  try {
    return yield* wait(context.callEntity(new df.EntityId("counter", "failing"), "explode"));
  } catch {
    return "caught";
  }
});

orchestration("locks", function* (context) {
  const lock = (context as unknown as { lock(entity: df.EntityId): Task }).lock(new df.EntityId("counter", "a"));
  return yield* wait(lock);
});

df.app.entity("counter", (context: EntityContext<number>) => {
  const value = context.df.getState(() => 0) ?? 0;
  switch (context.df.operationName) {
    case "add":
      context.df.setState(value + (context.df.getInput<number>() ?? 0));
      break;
    case "get":
      context.df.return(value);
      break;
    case "forward":
      context.df.signalEntity(new df.EntityId("counter", context.df.getInput<string>() ?? ""), "add", value);
      break;
    case "reset":
      context.df.destructOnExit();
      break;
    case "explode":
      throw new Error("exploded");
  }
});

orchestration("callsHttp", function* (context) {
  const uri = context.getInput<string>();
  const plain = yield* wait<HttpAnswer>(
    context.callHttp({ method: "POST", url: `${uri}/echo`, body: { a: 1 }, headers: { "x-test": "yes" } }),
  );
  const polled = yield* wait<HttpAnswer>(context.callHttp({ method: "GET", url: `${uri}/slow` }));
  const unpolled = yield* wait<HttpAnswer>(
    context.callHttp({ method: "GET", url: `${uri}/slow`, enablePolling: false }),
  );
  return [plain.statusCode, plain.content, polled.statusCode, polled.content, unpolled.statusCode];
});

orchestration("unreachableHttp", function* (context) {
  try {
    yield context.callHttp({ method: "GET", url: context.getInput<string>(), enablePolling: false });
    return "reached";
  } catch (error) {
    return (error as Error).message.slice(0, 50);
  }
});

orchestration("deterministicIds", function* (context) {
  const before = [context.newGuid(context.instanceId), context.newGuid(context.instanceId)];
  yield context.callActivity("nothing");
  yield context.callActivity("nothing");
  return before;
});

orchestration("changesCode", function* (context) {
  const [first, second] = process.env["CODE_VERSION"] === "2" ? ["nothing", "echo"] : ["echo", "nothing"];
  yield context.callActivity(first, 1);
  yield context.waitForExternalEvent("go");
  yield context.callActivity(second, 2);
  return "same code";
});

orchestration("repeatsAny", function* (context) {
  const timer = context.createTimer(after(context, 300_000));
  const event = context.waitForExternalEvent("never");
  const echo = context.callActivity("echo", 1);
  yield context.Task.any([timer, event, echo]);
  yield context.Task.any([timer, event]);
  return "done";
});

orchestration("keepsEventTask", function* (context) {
  const event = context.waitForExternalEvent("item");
  yield context.Task.any([event, context.createTimer(after(context, 1_000))]);
  context.setCustomStatus("second");
  const timer = context.createTimer(after(context, 86_400_000));
  yield context.Task.any([event, timer]);
  timer.cancel();
  yield context.callActivity("gate", context.instanceId);
  return yield* wait(context.waitForExternalEvent("item"));
});

orchestration("returnsCircle", function* (context) {
  yield context.callActivity("nothing");
  const circle: { self?: unknown } = {};
  circle.self = circle;
  return circle;
});

orchestration("yieldsRubbish", function* () {
  return yield* wait("not a task" as unknown as Task);
});

orchestration("waitsForCase", function* (context) {
  return yield* wait(context.waitForExternalEvent("Approve"));
});

orchestration("largePayload", function* (context) {
  return yield* wait(context.callActivity("echo", "x".repeat(70 * 1_024)));
});

orchestration("asksInstance", function* (context) {
  return yield* wait(context.callActivity("instanceOf"));
});
