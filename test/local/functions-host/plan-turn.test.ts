// What one turn leads to, as plain data: plans asserted without running anything.
import { describe, expect, test } from "vitest";
import { EventType, toEvent } from "../../../local/functions-host/durable/history.ts";
import type { HistoryEvent, HistoryFact } from "../../../local/functions-host/durable/history.ts";
import { ActionType } from "../../../local/functions-host/durable/library.ts";
import type { Action, OpenTask, ReplayOutcome } from "../../../local/functions-host/durable/library.ts";
import { planTurn } from "../../../local/functions-host/durable/plan-turn.ts";
import type { TurnPlan } from "../../../local/functions-host/durable/plan-turn.ts";
import type { OrchestratorState } from "../../../local/functions-host/durable/plan-work.ts";

const NOW = 1_000_000;
const activity = (name: string, input?: unknown): Action => ({
  actionType: ActionType.CallActivity,
  functionName: name,
  input,
});
const call = (id: number, action: Action): OpenTask => ({ kind: "call", id, action });

interface Given {
  readonly history?: readonly HistoryFact[];
  readonly open?: readonly OpenTask[];
  readonly actions?: readonly Action[];
  readonly unclaimed?: readonly string[];
  readonly state?: Partial<OrchestratorState>;
}

function plan({ history = [], open = [], actions = [], unclaimed = [], state = {} }: Given): TurnPlan {
  const events = history.map((fact): HistoryEvent => toEvent(fact, NOW - 500_000));
  const replay: ReplayOutcome = { open, actions, unclaimed, waitedEvents: [], staleEvents: [] };
  const outcomeId = ({ TaskScheduledId, TimerId }: HistoryFact): number | undefined => TaskScheduledId ?? TimerId;
  return planTurn({
    instanceId: "instance",
    functionName: "flow",
    executionId: "execution",
    now: NOW,
    scheduled: new Map(events.filter((event) => event.EventId >= 0).map((event) => [event.EventId, event])),
    outcomes: new Map(
      events.flatMap((event) => (outcomeId(event) === undefined ? [] : [[outcomeId(event) as number, event]])),
    ),
    replay,
    state: { isDone: false, ...state },
    findFunction: (_kind, name) => (name === "missing" ? undefined : name),
  });
}

describe("new work", () => {
  test("is what is open and not in the history, in the order of its ids", () => {
    const [first, second, third] = [activity("a", '"text"'), activity("b", { x: 1 }), activity("c")];
    const { work } = plan({
      history: [{ EventType: EventType.TaskScheduled, EventId: 0, Name: "a" }],
      open: [call(0, first), call(1, second), call(2, third)],
      actions: [first, second, third],
    });
    expect(work).toEqual([
      {
        kind: "activity",
        taskId: 1,
        name: "b",
        input: '{"x":1}',
        fact: { EventType: EventType.TaskScheduled, EventId: 1, Name: "b" },
      },
      {
        kind: "activity",
        taskId: 2,
        name: "c",
        input: "null",
        fact: { EventType: EventType.TaskScheduled, EventId: 2, Name: "c" },
      },
    ]);
  });

  test("gives signals the ids that nothing else has, between the calls they were made between", () => {
    const signal = (operation: string): Action => ({
      actionType: ActionType.SignalEntity,
      instanceId: "@counter@k",
      operation,
      input: 1,
    });
    const [one, two, three] = [signal("one"), signal("two"), signal("three")];
    const [a, b] = [activity("a"), activity("b")];
    const { work } = plan({
      history: [{ EventType: EventType.EventSent, EventId: 0, Name: "signal", InstanceId: "@counter@k" }],
      open: [call(2, a), call(4, b)],
      actions: [one, two, a, three, b],
    });
    expect(work.map((item) => [item.kind, item.fact.EventId])).toEqual([
      ["entityMessage", 1],
      ["activity", 2],
      ["entityMessage", 3],
      ["activity", 4],
    ]);
  });

  test("names sub-orchestrations after the execution unless they have an id", () => {
    const sub = (instanceId?: string): Action => ({
      actionType: ActionType.CallSubOrchestrator,
      functionName: "child",
      ...(instanceId && { instanceId }),
    });
    const [own, named] = [sub(), sub("mine")];
    const { work } = plan({ open: [call(10, own), call(11, named)], actions: [own, named] });
    expect(work.map((item) => "instanceId" in item && item.instanceId)).toEqual(["execution:000a", "mine"]);
  });

  test("keeps a poll until its delay is over, then asks the Location", () => {
    const action: Action = {
      actionType: ActionType.CallHttp,
      httpRequest: { method: "POST", uri: "http://a/x", content: "body" },
    };
    const history = [
      { EventType: EventType.TaskScheduled, EventId: 0, Name: "BuiltIn::HttpActivity" },
      {
        EventType: EventType.TaskCompleted,
        TaskScheduledId: 0,
        Result: '{"statusCode":202,"headers":{"Location":"/y"}}',
      },
    ];
    const poll = (ready: boolean): OpenTask => ({ kind: "poll", id: 2, action, previousId: 0, ready });
    expect(plan({ history, open: [poll(false)], actions: [action] }).work).toEqual([]);
    const [item] = plan({ history, open: [poll(true)], actions: [action] }).work;
    expect(item).toMatchObject({ kind: "activity", input: '{"method":"GET","uri":"http://a/y"}' });
  });
});

describe("retries", () => {
  const action: Action = { actionType: ActionType.CallActivityWithRetry, functionName: "a" };
  const history = [
    { EventType: EventType.TaskScheduled, EventId: 0, Name: "a" },
    { EventType: EventType.TaskFailed, TaskScheduledId: 0, Reason: "why", Details: "how" },
  ];
  const policy = { firstRetryIntervalInMilliseconds: 100, maxNumberOfAttempts: 5, backoffCoefficient: 3 };
  const timer = (more: object): OpenTask => ({
    kind: "retryTimer",
    id: 1,
    failed: { policy: { ...policy, ...more }, failures: 2, firstId: 0, failedId: 0 },
  });

  test("wait for the delay of the attempt", () => {
    const [item] = plan({ history, open: [timer({})], actions: [action] }).work;
    expect(item).toMatchObject({ kind: "timer", dueMs: NOW + 300, fact: { FollowUp: true } });
  });

  test("beyond their timeout wait no more and fail as before without running", () => {
    const expired = { retryTimeoutInMilliseconds: 400_000 };
    expect(plan({ history, open: [timer(expired)], actions: [action] }).work[0]).toMatchObject({ dueMs: NOW });
    const retried = { policy: { ...policy, ...expired }, failures: 1, firstId: 0, failedId: 0 };
    const [item] = plan({ history, open: [{ kind: "call", id: 2, action, retried }], actions: [action] }).work;
    expect(item).toMatchObject({
      kind: "outcome",
      outcome: { EventType: EventType.TaskFailed, TaskScheduledId: 2, Reason: "why", Details: "how" },
    });
  });

  test("beyond their timeout with endless attempts left fail the orchestration", () => {
    const endless = { retryTimeoutInMilliseconds: 1, maxNumberOfAttempts: 1e9 };
    expect(plan({ history, open: [timer(endless)], actions: [action] }).end).toMatchObject({
      status: "Failed",
      reason: expect.stringContaining("retry timeout"),
    });
  });
});

describe("the end", () => {
  const timer = (id: number, canceled: boolean): OpenTask => ({
    kind: "timer",
    id,
    fireAt: new Date(NOW + 1),
    canceled,
    followUp: false,
  });
  const createTimer: Action = { actionType: ActionType.CreateTimer };

  test("waits for open tasks, but not for cancelled timers, signals and events", () => {
    const given = {
      open: [timer(0, false), timer(1, true)],
      actions: [{ ...createTimer }, { ...createTimer }],
      state: { isDone: true, output: [1] },
    };
    expect(plan(given)).toMatchObject({
      end: { status: "Completed", output: "[1]" },
      openIds: [0],
      canceledTimers: [1],
    });
  });

  test("is a restart when the orchestrator asked for it", () => {
    const restart = (input: unknown): Action => ({ actionType: ActionType.ContinueAsNew, input });
    const end = (input: unknown): unknown => plan({ actions: [restart(input)], state: { isDone: true } }).end;
    expect(end({ a: 1 })).toEqual({ status: "ContinuedAsNew", input: '{"a":1}' });
    expect(end('"text"')).toEqual({ status: "ContinuedAsNew", input: '"text"' });
    expect(end(undefined)).toEqual({ status: "ContinuedAsNew", input: "null" });
  });

  test.each([
    [
      "a missing function",
      { open: [call(0, activity("missing"))], actions: [activity("missing")] },
      "The function 'missing' doesn't exist",
    ],
    [
      "an entity lock",
      { open: [call(0, { actionType: ActionType.LockEntities })] },
      "UNSUPPORTED_DURABLE_FEATURE: context.df.lock",
    ],
    ["an unknown action", { open: [call(0, { actionType: 99 })] }, "UNSUPPORTED_DURABLE_FEATURE: action type 99"],
    [
      "a token source",
      {
        open: [
          call(0, {
            actionType: ActionType.CallHttp,
            httpRequest: { method: "GET", uri: "http://a", tokenSource: {} },
          }),
        ],
      },
      "callHttp with a tokenSource",
    ],
    ["a status of 16 KB and more", { state: { customStatus: "x".repeat(8_191) } }, "must not exceed 16 KB"],
    ["its own error", { state: { error: "mine" } }, "Orchestrator function 'flow' failed: mine"],
  ] as [string, Given, string][])("is a failure for %s", (_name, given, reason) => {
    expect(plan(given).end).toMatchObject({ status: "Failed", reason: expect.stringContaining(reason) });
  });

  test("is not there with a status of just 16 KB", () => {
    expect(plan({ state: { customStatus: "x".repeat(8_190) } }).end).toBeUndefined();
  });
});

describe("changed code", () => {
  const history = [{ EventType: EventType.TaskScheduled, EventId: 0, Name: "a" }];
  const mismatch = { status: "Failed", reason: expect.stringContaining("Non-Deterministic workflow detected") };

  test.each([
    ["another name", { history, open: [call(0, activity("b"))], actions: [activity("b")] }],
    [
      "another kind",
      {
        history,
        open: [{ kind: "timer", id: 0, fireAt: new Date(0), canceled: false, followUp: false }],
        actions: [{ actionType: ActionType.CreateTimer }],
      },
    ],
    ["nothing asked for", { history }],
    ["another id", { history, open: [call(1, activity("a"))], actions: [activity("a")] }],
    [
      "an outcome that nothing waits for",
      {
        history: [...history, { EventType: EventType.TaskCompleted, TaskScheduledId: 0 }],
        actions: [activity("a")],
        unclaimed: ["0"],
      },
    ],
  ] as [string, Given][])("is noticed by %s", (_name, given) => {
    expect(plan(given).end).toMatchObject(mismatch);
  });

  test("is not suspected for events that are buffered or names that differ in case", () => {
    const given = { history, open: [call(0, activity("A"))], actions: [activity("A")], unclaimed: ["0x", "event"] };
    expect(plan(given).end).toBeUndefined();
  });
});
