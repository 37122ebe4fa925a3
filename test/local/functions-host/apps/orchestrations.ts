// An app that uses what `durable-functions` offers: one orchestrator per feature, and the HTTP client to drive them.
import { app } from "@azure/functions";
import type { HttpRequest } from "@azure/functions";
import * as df from "durable-functions";
import type { OrchestrationContext, Task } from "durable-functions";

type Flow = Generator<Task, unknown, unknown>;
const orchestration = (name: string, run: (context: OrchestrationContext) => Flow): void => {
  df.app.orchestration(name, function* (context) {
    return yield* run(context);
  });
};
/** Yields a task with the type of what it resolves to. */
function* wait<Result>(task: Task): Generator<Task, Result, unknown> {
  return (yield task) as Result;
}

const attempts = new Map<string, number>();
df.app.activity("echo", { handler: (input: unknown) => input });
df.app.activity("nothing", { handler: () => undefined });
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

orchestration("sequence", function* (context) {
  const first = yield* wait<string>(context.df.callActivity("echo", "a"));
  const second = yield* wait<number>(context.df.callActivity("echo", 2));
  const third = yield* wait<unknown>(context.df.callActivity("echo", { three: [3] }));
  const fourth = yield* wait<unknown>(context.df.callActivity("nothing"));
  return [first, second, third, fourth, context.df.getInput()];
});

orchestration("fanOut", function* (context) {
  const count = context.df.getInput() as number;
  const tasks = Array.from({ length: count }, (_, index) => context.df.callActivity("echo", index));
  const results = yield* wait<number[]>(context.df.Task.all(tasks));
  return results.reduce((sum, value) => sum + value, 0);
});

app.http("start", {
  route: "start/{name}",
  methods: ["POST"],
  extraInputs: [df.input.durableClient()],
  handler: async (request: HttpRequest, context) => {
    const client = df.getClient(context);
    const text = await request.text();
    const instanceId = request.query.get("id");
    const id = await client.startNew(request.params["name"] as string, {
      ...(instanceId !== null && { instanceId }),
      ...(text !== "" && { input: JSON.parse(text) as unknown }),
    });
    return client.waitForCompletionOrCreateCheckStatusResponse(request, id, {
      timeoutInMilliseconds: 20_000,
      retryIntervalInMilliseconds: 20,
    });
  },
});
