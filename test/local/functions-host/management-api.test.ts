// Durable's client in the app and Durable's HTTP API from outside: the same instances, as the library calls for them.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeFolder, optionsFor, startHost } from "./host-process.ts";
import type { HostProcess, Status } from "./host-process.ts";

const folder = makeFolder();
let host: HostProcess;

beforeAll(async () => {
  const hostJson = {
    version: "2.0",
    extensions: { durableTask: { hubName: "TestHub", maxConcurrentActivityFunctions: 3 } },
  };
  host = await startHost(optionsFor("orchestrations.ts", folder.path, { hostJson, logLevel: "error" }));
});
afterAll(async () => {
  await host.stop();
  folder.remove();
});

/** Runs calls of the durable client inside the app; entity ids go as `{entity: [name, key]}`. */
async function client(...calls: [string, ...unknown[]][]): Promise<unknown[]> {
  const response = await host.call("/api/client", { method: "POST", body: JSON.stringify(calls) });
  return (await response.json()) as unknown[];
}

describe("startNew", () => {
  test("takes an id, an input and a version", async () => {
    expect(await client(["startNew", "waitsForGo", { instanceId: "mine", input: { a: 1 }, version: "1.2" }])).toEqual([
      "mine",
    ]);
    expect(await host.status("mine")).toMatchObject({ name: "waitsForGo", instanceId: "mine", input: { a: 1 } });
  });

  test("hands the version on to the orchestrator", async () => {
    await client(["startNew", "tellsVersion", { instanceId: "versioned", version: "2.1" }]);
    expect((await host.until("versioned")).output).toBe("2.1");
  });

  test("on a running id fails, on a finished one starts over", async () => {
    await host.start("waitsForGo", 1, "again");
    const [error] = await client(["startNew", "waitsForGo", { instanceId: "again", input: 2 }]);
    expect((error as { error: string }).error).toContain("409");
    expect((error as { error: string }).error).toContain("already exists");
    await host.raise("again", "go", "first");
    await host.until("again");
    expect(await client(["startNew", "waitsForGo", { instanceId: "again", input: 3 }])).toEqual(["again"]);
    expect(await host.until("again", ["Running"])).toMatchObject({ input: 3, output: null });
  });

  test("refuses unknown functions, bad ids and bodies that are not JSON", async () => {
    const [error] = await client(["startNew", "nobody", {}]);
    expect((error as { error: string }).error).toContain("400");
    const post = (path: string, body = ""): Promise<Response> => host.durable(path, { method: "POST", body });
    expect((await post("orchestrators/sequence/@bad")).status).toBe(400);
    expect((await post(`orchestrators/sequence/${"x".repeat(101)}`)).status).toBe(400);
    expect((await post("orchestrators/sequence/good", "{not json")).status).toBe(400);
    expect((await post("orchestrators/%zz")).status).toBe(404);
  });

  test("over HTTP can wait for the result", async () => {
    const response = await host.durable("orchestrators/sequence?timeout=10&pollingInterval=1", {
      method: "POST",
      body: "7",
    });
    expect([response.status, ((await response.json()) as unknown[]).at(-1)]).toEqual([200, 7]);
    const waiting = await host.durable("orchestrators/waitsForGo?timeout=0.05", { method: "POST" });
    expect(waiting.status).toBe(202);
  });
});

describe("getStatus", () => {
  test("shows input, output and history as asked", async () => {
    const { instanceId } = await host.run("sequence", { big: true });
    const [plain, shown] = (await client(
      ["getStatus", instanceId],
      ["getStatus", instanceId, { showInput: true, showHistory: true, showHistoryOutput: true }],
    )) as Status[];
    expect(plain).toMatchObject({
      runtimeStatus: "Completed",
      output: ["a", 2, { three: [3] }, null, "5", { big: true }],
    });
    expect(shown).toMatchObject({ input: { big: true } });

    const { historyEvents = [] } = await host.status(instanceId, "?showHistory=true&showHistoryOutput=true");
    expect(historyEvents.map(({ EventType }) => EventType)).toEqual([
      "ExecutionStarted",
      ...Array.from({ length: 5 }, () => "TaskCompleted"),
      "ExecutionCompleted",
    ]);
    expect(historyEvents[1]).toMatchObject({ FunctionName: "echo", Result: "a" });
    expect(historyEvents[1]).toHaveProperty("ScheduledTime");
    const silent = await host.status(instanceId, "?showHistory=true");
    expect(silent.historyEvents?.[1]).not.toHaveProperty("Result");
    expect(silent.historyEvents?.[0]).not.toHaveProperty("IsPlayed");
    expect((await host.status(instanceId, "?showInput=false")).input).toBeNull();
  });

  test("answers 202 while running, 200 when finished, 200 or on request 500 when failed, 404 for unknown", async () => {
    const id = await host.start("waitsForGo");
    const running = await host.durable(`instances/${id}`);
    expect([running.status, running.headers.get("retry-after")]).toEqual([202, "5"]);
    expect(running.headers.get("location")).toContain(`/runtime/webhooks/durabletask/instances/${id}?`);
    const { instanceId } = await host.run("fails", "x");
    expect((await host.durable(`instances/${instanceId}`)).status).toBe(200);
    expect((await host.durable(`instances/${instanceId}?returnInternalServerErrorOnFailure=true`)).status).toBe(500);
    expect((await host.durable("instances/unknown")).status).toBe(404);
    const [error] = await client(["getStatus", "unknown"]);
    expect((error as { error: string }).error).toContain("404");
  });
});

describe("getStatusBy", () => {
  test("filters by time and status over more than one page", async () => {
    const before = new Date().toISOString();
    await Promise.all(Array.from({ length: 230 }, (_, index) => host.start("waitsForGo", index, `page-${index}`)));
    await Promise.all(Array.from({ length: 5 }, (_, index) => host.raise(`page-${index}`, "go", index)));
    await Promise.all(Array.from({ length: 5 }, (_, index) => host.until(`page-${index}`)));
    const ids = (result: unknown): string[] => (result as Status[]).map(({ instanceId }) => instanceId);
    const [since, done, all] = await client(
      ["getStatusBy", { createdTimeFrom: before, runtimeStatus: ["Running", "Pending"] }],
      ["getStatusBy", { createdTimeFrom: before, runtimeStatus: ["Completed"] }],
      ["getStatusAll"],
    );
    expect(ids(since).length).toBe(225);
    expect(new Set(ids(since)).size).toBe(225);
    expect(ids(done).sort()).toEqual(Array.from({ length: 5 }, (_, index) => `page-${index}`));
    expect(ids(all).length).toBeGreaterThan(230);
    const [none] = await client(["getStatusBy", { createdTimeTo: "2001-01-01T00:00:00Z" }]);
    expect(none).toEqual([]);
  });

  test("pages by token with a size and an id prefix", async () => {
    const seen: string[] = [];
    let token = "";
    do {
      const { url, keys } = host;
      const response = await fetch(`${url}/runtime/webhooks/durabletask/instances?top=100&instanceIdPrefix=page-`, {
        headers: { "x-functions-key": keys.master, "x-ms-continuation-token": token },
      });
      const page = (await response.json()) as Status[];
      expect(page.length).toBeLessThanOrEqual(100);
      seen.push(...page.map(({ instanceId }) => instanceId));
      token = response.headers.get("x-ms-continuation-token") ?? "";
    } while (token !== "");
    expect(new Set(seen).size).toBe(230);
    expect(seen.length).toBe(230);
    expect((await host.durable("instances?top=none")).status).toBe(400);
  });
});

describe("operations", () => {
  test("suspend holds events back until resume", async () => {
    const id = await host.start("waitsForGo");
    await host.until(id, ["Running"]);
    await client(["suspend", id, "hold on"]);
    expect((await host.status(id)).runtimeStatus).toBe("Suspended");
    await host.raise(id, "go", "held");
    await client(["suspend", id, "twice"]);
    expect((await host.status(id)).runtimeStatus).toBe("Suspended");
    await client(["resume", id, "go on"]);
    expect(await host.until(id)).toMatchObject({ runtimeStatus: "Completed", output: "held" });
  });

  test("terminate ends at once, and a result that comes later does not bring the instance back", async () => {
    const id = await host.start("events", 1);
    await host.until(id, ["Running"]);
    expect(await client(["terminate", id, "enough"])).toEqual([null]);
    expect(await host.status(id)).toMatchObject({ runtimeStatus: "Terminated", output: "enough" });
    await expect.poll(async () => (await host.call(`/api/gates/${id}`, { method: "POST" })).status).toBe(204);
    await host.raise(id, "item", 1);
    await host.run("sequence");
    const { runtimeStatus, historyEvents } = await host.status(id, "?showHistory=true");
    expect(runtimeStatus).toBe("Terminated");
    expect(historyEvents?.at(-1)?.["EventType"]).toBe("ExecutionTerminated");
  });

  test("terminating a sub-orchestration fails it into its parent", async () => {
    const id = await host.start("callsWaiting");
    await expect.poll(async () => (await host.durable(`instances/${id}-waiting`)).status).toBe(202);
    await client(["terminate", `${id}-waiting`, "stop it"]);
    const { output } = await host.until(id);
    expect(output).toContain("The sub-orchestrator function 'waitsForGo' was terminated: stop it");
  });

  test("on finished instances answer 410, on unknown ones 404", async () => {
    const { instanceId } = await host.run("sequence");
    for (const operation of ["terminate", "suspend", "resume"]) {
      const statuses = [instanceId, "unknown"].map(
        async (id) => (await host.durable(`instances/${id}/${operation}?reason=x`, { method: "POST" })).status,
      );
      expect(await Promise.all(statuses)).toEqual([410, 404]);
    }
    const [gone, missing] = await client(["terminate", instanceId, "x"], ["terminate", "unknown", "x"]);
    expect(gone).toBeNull();
    expect(missing).toEqual({ error: "No instance with ID 'unknown' found." });
  });

  test("rewind is refused by name", async () => {
    const { instanceId } = await host.run("fails", "x");
    const [error] = await client(["rewind", instanceId, "try again"]);
    expect((error as { error: string }).error).toContain("UNSUPPORTED_DURABLE_FEATURE: rewind");
  });

  test("restart runs a finished instance's input again", async () => {
    const { instanceId } = await host.run("sequence", "again");
    const response = await host.durable(`instances/${instanceId}/restart`, { method: "POST" });
    const { id } = (await response.json()) as { id: string };
    expect(id).not.toBe(instanceId);
    expect(((await host.until(id)).output as unknown[]).at(-1)).toBe("again");
  });
});

describe("purge", () => {
  test("deletes finished instances only", async () => {
    const { instanceId } = await host.run("sequence");
    const running = await host.start("waitsForGo");
    const results = await client(
      ["purgeInstanceHistory", instanceId],
      ["purgeInstanceHistory", instanceId],
      ["purgeInstanceHistory", running],
    );
    expect(results).toEqual([{ instancesDeleted: 1 }, { instancesDeleted: 0 }, { instancesDeleted: 0 }]);
    expect((await host.durable(`instances/${instanceId}`)).status).toBe(404);
  });

  test("by filter deletes what matches", async () => {
    const before = new Date().toISOString();
    await host.run("sequence");
    await host.run("fails", "x");
    const [failed, others] = await client(
      ["purgeInstanceHistoryBy", { createdTimeFrom: before, runtimeStatus: ["Failed"] }],
      ["purgeInstanceHistoryBy", { createdTimeFrom: before }],
    );
    expect([failed, others]).toEqual([{ instancesDeleted: 1 }, { instancesDeleted: 1 }]);
  });
});

describe("entities", () => {
  test("are signalled and read by clients, signal each other, and can be deleted", async () => {
    const [a, b] = [{ entity: ["Counter", "a"] }, { entity: ["counter", "b"] }];
    expect(await client(["readEntityState", a])).toEqual([{ entityExists: false }]);
    await client(["signalEntity", a, "add", 3], ["signalEntity", a, "add", 4], ["signalEntity", a, "forward", "b"]);
    const state = async (entity: unknown): Promise<unknown> => (await client(["readEntityState", entity]))[0];
    await expect.poll(() => state(b)).toEqual({ entityExists: true, entityState: 7 });
    expect(await state(a)).toEqual({ entityExists: true, entityState: 7 });
    await client(["signalEntity", a, "reset"]);
    await expect.poll(() => state(a)).toEqual({ entityExists: false });
  });

  test("that no function serves are refused", async () => {
    const [error] = await client(["signalEntity", { entity: ["nobody", "x"] }, "add", 1]);
    expect((error as { error: string }).error).toContain("400");
  });
});

test("no more activities run at once than host.json allows", async () => {
  expect((await host.run("parallel")).output).toBe(3);
});

describe("links", () => {
  test("of createHttpManagementPayload and the check-status response work as they stand", async () => {
    const waiting = await host.call("/api/start/waitsForGo?wait=0", { method: "POST" });
    expect([waiting.status, waiting.headers.get("retry-after")]).toEqual([202, "10"]);
    const links = (await waiting.json()) as Record<string, string>;
    expect(waiting.headers.get("location")).toBe(links["statusQueryGetUri"]);
    expect(links["statusQueryGetUri"]).toContain("taskHub=TestHub&connection=Storage&code=durable-key");
    const [payload] = (await client(["createHttpManagementPayload", links["id"]])) as Record<string, string>[];
    expect(payload).toEqual(links);

    const event = (links["sendEventPostUri"] ?? "").replace("{eventName}", "go");
    const headers = { "content-type": "application/json" };
    expect((await fetch(event, { method: "POST", body: '"by link"', headers })).status).toBe(202);
    await host.until(links["id"] ?? "");
    const status = await fetch(links["statusQueryGetUri"] ?? "");
    expect(await status.json()).toMatchObject({ runtimeStatus: "Completed", output: "by link" });
    expect((await fetch(links["purgeHistoryDeleteUri"] ?? "", { method: "DELETE" })).status).toBe(200);
  });

  test("completed orchestrations answer with their output", async () => {
    const response = await host.call("/api/start/sequence", { method: "POST", body: "1" });
    expect([response.status, ((await response.json()) as unknown[]).at(-1)]).toEqual([200, 1]);
    const failed = await host.call("/api/start/fails", { method: "POST", body: '"x"' });
    expect([failed.status, ((await failed.json()) as Status).runtimeStatus]).toEqual([500, "Failed"]);
  });
});
