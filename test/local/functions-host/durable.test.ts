// Durable orchestrations through the real library in a real host process, one case per feature.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeFolder, optionsFor, startHost } from "./host-process.ts";
import type { HostProcess } from "./host-process.ts";

const folder = makeFolder();
const originMs = Date.now();
let host: HostProcess;

beforeAll(async () => {
  // A minute passes in 60 ms.
  const clock = { originMs, scale: 1_000 };
  host = await startHost(optionsFor("orchestrations.ts", folder.path, { clock, logLevel: "warn" }));
});
afterAll(async () => {
  await host.stop();
  folder.remove();
});

async function openGate(name: string): Promise<void> {
  while ((await host.call(`/api/gates/${name}`, { method: "POST" })).status === 404) await new Promise(setImmediate);
}

describe("activities", () => {
  test("run in sequence and keep the types of inputs and results", async () => {
    const { runtimeStatus, output } = await host.run("sequence", { x: [1] });
    expect([runtimeStatus, output]).toEqual(["Completed", ["a", 2, { three: [3] }, null, "5", { x: [1] }]]);
  });

  test("fan out to a thousand and come back well under two seconds", async () => {
    const started = performance.now();
    expect((await host.run("fanOut", 1_000)).output).toBe(499_500);
    expect(performance.now() - started).toBeLessThan(2_000);
  });

  test("throw into the orchestrator when they fail", async () => {
    expect((await host.run("catches")).output).toContain("Activity function 'fail' failed: broken");
  });

  test("hand over failure details when the app provides them", async () => {
    const { output } = await host.run("catchesDetails");
    expect(output).toEqual({ errorType: "RangeError", errorMessage: "too much", properties: { limit: 7 } });
  });

  test("know the instance that called them", async () => {
    const { output, instanceId } = await host.run("asksInstance");
    expect(output).toBe(instanceId);
  });

  test("fail the orchestration when there is no such function", async () => {
    const { runtimeStatus, output } = await host.run("unknownActivity");
    expect(runtimeStatus).toBe("Failed");
    expect(output).toContain("The function 'missing' doesn't exist, is disabled, or is not an activity function.");
  });
});

describe("failures", () => {
  test("of an orchestrator end it with its message", async () => {
    const { runtimeStatus, output } = await host.run("fails", "no luck");
    expect([runtimeStatus, output]).toEqual(["Failed", "Orchestrator function 'fails' failed: no luck"]);
  });

  test("of one branch fail Task.all", async () => {
    expect((await host.run("allWithFailure")).output).toContain("Activity function 'fail' failed: one");
  });

  test("of the protocol name the broken rule", async () => {
    const { runtimeStatus, output } = await host.run("yieldsRubbish");
    expect(runtimeStatus).toBe("Failed");
    expect(output).toContain("Only Task types can be yielded");
  });

  test("of serialization end it, too", async () => {
    const { runtimeStatus, output } = await host.run("returnsCircle");
    expect([runtimeStatus, output]).toEqual(["Failed", expect.stringContaining("circular structure")]);
  });

  test("unknown orchestrators are refused with 400", async () => {
    const response = await host.durable("orchestrators/missing", { method: "POST" });
    expect(response.status).toBe(400);
  });

  test("entity locks fail with an error that names the feature", async () => {
    const { runtimeStatus, output } = await host.run("locks");
    expect(runtimeStatus).toBe("Failed");
    expect(output).toContain("UNSUPPORTED_DURABLE_FEATURE: context.df.lock");
  });
});

describe("retries", () => {
  test("succeed on a later attempt after delays that double", async () => {
    const { output } = await host.run("retries", { id: "a", attempt: 3, max: 5 });
    expect(output).toMatchObject({ result: 3 });
    expect((output as { ms: number }).ms).toBeGreaterThanOrEqual(60_000 + 120_000);
  });

  test("cap the delay and give up after the last attempt", async () => {
    const { output } = await host.run("retries", { id: "b", attempt: 99, max: 4 });
    expect((output as { error: string }).error).toContain("attempt 4");
    // The delay after the last attempt is waited for as well: 60 + 120 + 180 + 180 s.
    expect((output as { ms: number }).ms).toBeGreaterThanOrEqual(540_000);
  });

  test("stop at the retry timeout", async () => {
    const { output, instanceId } = await host.run("retryTimeout");
    expect(output).toContain("Activity function 'fail' failed: always");
    const { historyEvents } = await host.status(instanceId, "?showHistory=true");
    expect(historyEvents?.filter(({ EventType }) => EventType === "TaskFailed").length).toBe(20);
  });
});

describe("sub-orchestrations", () => {
  test("return results, fail into the parent, and are named after it unless given an id", async () => {
    const { output, instanceId } = await host.run("parent");
    const { unnamed, named, caught } = output as { unnamed: string[]; named: string[]; caught: string };
    expect(unnamed[0]).toMatch(/^[0-9a-f]{32}:0000$/);
    expect(unnamed.slice(1)).toEqual([instanceId, "one"]);
    expect(named).toEqual([`${instanceId}-named`, instanceId, "two"]);
    expect(caught).toContain("The sub-orchestrator function 'child' failed");
    expect(caught).toContain("child failed");
  });

  test("nest in Task.all and Task.any", async () => {
    expect((await host.run("nested")).output).toEqual([true, "a", "b"]);
  });
});

describe("external events", () => {
  test("win against a timer, which is cancelled", async () => {
    const id = await host.start("eventOrTimer");
    expect(await host.raise(id, "go", { ok: true })).toBe(202);
    expect((await host.until(id)).output).toEqual({ ok: true });
  });

  test("that come early are buffered in order", async () => {
    const id = await host.start("events", 3);
    for (const value of [1, 2, 3]) await host.raise(id, "item", value);
    await openGate(id);
    expect((await host.until(id)).output).toEqual([1, 2, 3]);
  });

  test("with an empty body are null", async () => {
    const id = await host.start("waitsForGo");
    await host.raise(id, "go");
    expect((await host.until(id)).output).toBeNull();
  });

  test("to a finished or unknown instance answer 410 and 404", async () => {
    const { instanceId } = await host.run("sequence");
    expect(await host.raise(instanceId, "go", 1)).toBe(410);
    expect(await host.raise("nobody", "go", 1)).toBe(404);
  });

  test("that differ in case are left to the library, with a warning", async () => {
    const id = await host.start("waitsForCase");
    await host.raise(id, "approve", 1);
    await host.raise(id, "Approve", 2);
    expect((await host.until(id)).output).toBe(2);
  });
});

describe("continue-as-new", () => {
  test("starts over with a new input and a short history", async () => {
    const { output, instanceId } = await host.run("countsDown", { left: 5, seen: [] });
    expect(output).toEqual(["n5", "n4", "n3", "n2", "n1", "n0"]);
    const { historyEvents } = await host.status(instanceId, "?showHistory=true");
    expect(historyEvents?.length).toBe(3);
  });

  test("hands over texts as they are", async () => {
    expect((await host.run("restartsWithText", "a")).output).toBe("a!!!");
  });

  test("drops events that were received and not consumed", async () => {
    const id = await host.start("dropsEvents", { round: 0 });
    await host.raise(id, "extra", "early");
    await openGate(id);
    await expect.poll(async () => (await host.status(id)).input).toEqual({ round: 1 });
    await host.raise(id, "extra", "late");
    expect((await host.until(id)).output).toBe("late");
    expect((await host.warnings()).map(({ code }) => code)).toContain("EVENTS_DROPPED");
  });
});

describe("custom status", () => {
  test("shows while the orchestration runs and stays", async () => {
    const id = await host.start("reportsStatus", 10);
    while ((await host.status(id)).customStatus === null) await new Promise(setImmediate);
    expect((await host.status(id)).customStatus).toEqual({ step: 1 });
    await host.raise(id, "next");
    await host.raise(id, "end");
    expect((await host.until(id)).customStatus).toEqual({ text: "x".repeat(10) });
  });

  test("over 16 KB fails the orchestration", async () => {
    const id = await host.start("reportsStatus", 9_000);
    await host.raise(id, "next");
    const { runtimeStatus, output } = await host.until(id);
    expect(runtimeStatus).toBe("Failed");
    expect(output).toContain("must not exceed 16 KB");
  });
});

describe("entities", () => {
  test("see signals and calls in the order they were made", async () => {
    expect((await host.run("callsCounter")).output).toEqual([5, 7, null, 17]);
  });

  test("throw into the orchestrator when they fail", async () => {
    expect((await host.run("callsFailingEntity")).output).toBe("caught");
  });
});

describe("callHttp", () => {
  test("sends requests, polls a 202 and gives the answer", async () => {
    let polls = 0;
    const server = createServer((request, response) => {
      if (request.url === "/slow") response.writeHead(202, { location: "/slow/1", "retry-after": "1" }).end();
      else if (request.url === "/slow/1")
        response.writeHead(++polls < 3 ? 202 : 200, { location: "/slow/1" }).end(`polls ${polls}`);
      else request.pipe(response.writeHead(201, { "x-test": request.headers["x-test"] ?? "" }));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const { output } = await host.run("callsHttp", `http://127.0.0.1:${port}`);
    expect(output).toEqual([201, '{"a":1}', 200, "polls 3", 202]);
    await new Promise((resolve) => server.close(resolve));
    expect((await host.run("unreachableHttp", `http://127.0.0.1:${port}`)).output).toContain("BuiltIn::HttpActivity");
  });
});

describe("what the service does, too", () => {
  test("an instance with an abandoned timer stays Running until it fires", async () => {
    const id = await host.start("abandonedTimer", 600_000);
    const { historyEvents } = await host.status(id, "?showHistory=true");
    expect((await host.status(id)).runtimeStatus).not.toBe("Completed");
    expect(historyEvents).toBeDefined();
    const { output, ...status } = await host.until(id);
    expect(output).toBe("done");
    const ran =
      Date.parse((status as unknown as { lastUpdatedTime: string }).lastUpdatedTime) - Date.parse(status.createdTime);
    expect(ran).toBeGreaterThanOrEqual(599_000);
    expect((await host.warnings()).map(({ code }) => code)).toContain("OPEN_TASKS_AT_END");
  });

  test("a cancelled timer lets the instance end at once", async () => {
    expect((await host.run("cancelledLongTimer")).output).toBe("done");
  });

  test("an event task that was awaited twice swallows the next event of its name, with a warning", async () => {
    const id = await host.start("keepsEventTask");
    await expect.poll(async () => (await host.status(id)).customStatus).toBe("second");
    await host.raise(id, "item", 1);
    await expect
      .poll(() => host.warnings())
      .toContainEqual(expect.objectContaining({ code: "STALE_EVENT_WAITER", subject: "keepsEventTask" }));
    await host.raise(id, "item", "swallowed");
    await openGate(id);
    await host.run("sequence");
    expect((await host.status(id)).runtimeStatus).toBe("Running");
    await host.raise(id, "item", "received");
    expect((await host.until(id)).output).toBe("received");
  });

  test("deterministic ids stay the same over replays", async () => {
    const { output } = await host.run("deterministicIds");
    const [first, second] = output as string[];
    expect(first).toMatch(/^[0-9a-f-]{36}$/);
    expect(second).not.toBe(first);
  });

  test("traps of the real host are warned about once each", async () => {
    await host.run("repeatsAny");
    await host.run("repeatsAny");
    await host.run("largePayload");
    const warnings = await host.warnings();
    const about = (code: string): string[] =>
      warnings.filter((warning) => warning.code === code).map(({ subject }) => subject);
    expect(about("REPEATED_ACTIONS")).toEqual(["repeatsAny"]);
    expect(about("LARGE_PAYLOAD")).toEqual(["largePayload"]);
    expect(about("HISTORY_TOO_LONG")).toEqual(["fanOut"]);
    expect(about("CUSTOM_STATUS_TOO_LARGE")).toEqual(["reportsStatus"]);
    expect(about("EVENT_NAME_CASE")).toEqual(["waitsForCase"]);
  });
});

test("a hundred orchestrations run at once", async () => {
  const ids = await Promise.all(
    Array.from({ length: 100 }, (_, index) => host.start("countsDown", { left: 3, seen: [] }, `many-${index}`)),
  );
  const outputs = await Promise.all(ids.map(async (id) => (await host.until(id)).output));
  expect(outputs).toEqual(ids.map(() => ["n3", "n2", "n1", "n0"]));
});
