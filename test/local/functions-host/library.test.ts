// Guards the private fields of durable-functions that the host reads, and the versions that it was written for.
import { createRequire } from "node:module";
import { expect, test } from "vitest";
import { ActionType, readReplay } from "../../../local/functions-host/durable/library.ts";
import packageJson from "../../../package.json" with { type: "json" };

const load = createRequire(import.meta.url);

test("the libraries are pinned exactly", () => {
  expect(packageJson.dependencies["durable-functions"]).toBe("3.5.0");
  expect(packageJson.dependencies["@azure/functions"]).toBe("4.16.5");
  expect((load("durable-functions/package.json") as { version: string }).version).toBe("3.5.0");
});

test("the executor has the fields that tell open tasks", () => {
  const { TaskOrchestrationExecutor } = load(
    "durable-functions/lib/src/orchestrations/TaskOrchestrationExecutor.js",
  ) as {
    TaskOrchestrationExecutor: new () => Record<string, unknown>;
  };
  const executor = new TaskOrchestrationExecutor();
  expect(Object.keys(executor)).toEqual(
    expect.arrayContaining(["openTasks", "openEvents", "deferredTasks", "actions"]),
  );
  expect(readReplay({ df: { taskOrchestratorExecutor: executor } })).toEqual({
    open: [],
    unclaimed: [],
    waitedEvents: [],
    staleEvents: [],
    actions: [],
  });
});

test("another shape is refused, not guessed", () => {
  expect(() => readReplay({ df: {} })).toThrow(expect.objectContaining({ code: "UNSUPPORTED_LIBRARY" }));
});

test("action types and task states have the codes that the host assumes", () => {
  const library = load("durable-functions/lib/src/actions/ActionType.js") as { ActionType: Record<string, number> };
  expect(library.ActionType).toMatchObject(ActionType);
  const { TaskState } = load("durable-functions/lib/src/task/index.js") as { TaskState: Record<string, number> };
  expect(TaskState).toMatchObject({ Running: 0, Failed: 1, Completed: 2 });
});

test("retries and long timers keep the fields that tell attempts and legs", () => {
  const { RetryableTask, AtomicTask, LongTimerTask } = load("durable-functions/lib/src/task/index.js") as Record<
    string,
    new (...args: unknown[]) => Record<string, unknown>
  >;
  const inner = new (AtomicTask as NonNullable<typeof AtomicTask>)(false, { actionType: 1 });
  const retryable = new (RetryableTask as NonNullable<typeof RetryableTask>)(inner, { maxNumberOfAttempts: 2 });
  expect(retryable).toMatchObject({
    attemptNumber: 1,
    isWaitingOnTimer: false,
    innerTask: inner,
    retryOptions: { maxNumberOfAttempts: 2 },
  });
  const context = { currentUtcDateTime: new Date(0) };
  const action = { actionType: 5, fireAt: new Date(864_000_000), isCanceled: true };
  const timer = new (LongTimerTask as NonNullable<typeof LongTimerTask>)(false, action, context, {}, "P6D", "P3D");
  expect(timer["isCanceled"]).toBe(true);
  expect((timer["children"] as { action: { fireAt: Date } }[])[0]?.action.fireAt).toEqual(new Date(259_200_000));
});
