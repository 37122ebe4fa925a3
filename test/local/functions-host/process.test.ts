// The host as a process: what it refuses at its start, what it keeps over restarts, and streaming.
import { fork, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { appsFolder, mainFile, makeFolder, optionsFor, startHost } from "./host-process.ts";
import type { HostProcess } from "./host-process.ts";

const folder = makeFolder();
const running = new Set<HostProcess>();
afterEach(async () => {
  await Promise.all([...running].map((host) => host.kill9()));
  running.clear();
});
afterAll(() => folder.remove());

async function start(...options: Parameters<typeof optionsFor>): Promise<HostProcess> {
  const host = await startHost(optionsFor(...options));
  running.add(host);
  return host;
}

async function stop(host: HostProcess): Promise<void> {
  running.delete(host);
  await host.stop();
}

describe("the start", () => {
  test.each([
    ["trigger", "UNSUPPORTED_BINDING", "load function queued: got trigger binding queueTrigger"],
    ["input", "UNSUPPORTED_BINDING", "load function reads: got input binding blob"],
    ["output", "UNSUPPORTED_BINDING", "load function writes: got output binding queue"],
    ["route", "BAD_ROUTE", "constraint nonsense"],
    ["schedule", "BAD_SCHEDULE", "load function timed: got sometimes"],
    ["setting", "MISSING_SETTING", "%NO_SUCH_SETTING%"],
    ["throws", "APP_LOAD_FAILED", "the app's own fault"],
    ["twice", "APP_LOAD_FAILED", "already been registered"],
    ["nothing", "APP_LOAD_FAILED", "no function registered"],
  ])("is refused for a wrong %s with %s", async (wrong, code, text) => {
    const options = optionsFor("unsupported.ts", folder.path, { settings: { WRONG: wrong }, storageFile: ":memory:" });
    const failure = startHost(options).then(
      () => undefined,
      (error: unknown) => (error as Error).message,
    );
    expect(await failure).toContain(code);
    expect(await failure).toContain(text);
  });

  test("is refused for routes under /admin when there is no prefix", async () => {
    const hostJson = { extensions: { http: { routePrefix: "" } } };
    const options = optionsFor("unsupported.ts", folder.path, {
      settings: { WRONG: "reserved" },
      storageFile: ":memory:",
      hostJson,
    });
    await expect(startHost(options)).rejects.toThrow(/BAD_ROUTE.*administers/);
  });

  test("is refused for a missing app, a wrong host.json and options that are none", async () => {
    const missing = { app: { folder: join(folder.path, "none") }, storageFile: ":memory:" };
    await expect(startHost(missing)).rejects.toThrow(/APP_LOAD_FAILED/);
    const hostJson = { extensions: { durableTask: { hubName: "1" } } };
    await expect(startHost(optionsFor("http.ts", folder.path, { storageFile: ":memory:", hostJson }))).rejects.toThrow(
      /BAD_HOST_JSON/,
    );
    const main = join(import.meta.dirname, "../../../local/functions-host/main.ts");
    const child = spawnSync(process.execPath, [main, "--options", "-"], { input: '{"app":{}}', encoding: "utf8" });
    expect([child.status, child.stderr]).toEqual([2, expect.stringContaining("BAD_OPTIONS")]);
  });

  test("finds host.json in the folder and the entry files by the glob of package.json", async () => {
    const host = await start("", folder.path, {
      app: { folder: join(appsFolder, "packaged") },
      storageFile: ":memory:",
    });
    expect(host.functions).toEqual(["first", "second"]);
    expect(await (await host.call("/functions/second")).text()).toBe("second");
  });

  test("is undone by SIGTERM: requests under way are answered, appTerminate hooks run, the process ends with 0", async () => {
    const host = await start("http.ts", folder.path, { storageFile: ":memory:" });
    const answered = host.call("/api/slow");
    await expect.poll(() => host.log.some(({ msg }) => msg === "slow has begun")).toBe(true);
    await stop(host);
    expect(await (await answered).text()).toBe("done");
    expect(host.log).toContainEqual({ hook: "appTerminate" });
  });

  test("is undone as well when the process that started it with a channel is gone", async () => {
    const options = optionsFor("http.ts", folder.path, { storageFile: ":memory:" });
    const child = fork(mainFile, {
      env: { ...process.env, LIGHTER_FUNCTIONS_HOST: JSON.stringify(options) },
      stdio: ["ignore", "pipe", "ignore", "ipc"],
    });
    const exited = once(child, "exit");
    await once(child.stdout as Readable, "data");
    child.disconnect();
    expect(await exited).toEqual([0, null]);
  });

  test("on a file that is no storage is refused", async () => {
    const storageFile = join(folder.path, "rubbish.db");
    writeFileSync(storageFile, "x".repeat(10_000));
    await expect(startHost(optionsFor("http.ts", folder.path, { storageFile }))).rejects.toThrow(/STORAGE_UNUSABLE/);
    const inside = join(storageFile, "host.db");
    await expect(startHost(optionsFor("http.ts", folder.path, { storageFile: inside }))).rejects.toThrow(
      /STORAGE_UNUSABLE/,
    );
  });

  test("on a file that another host uses is refused", async () => {
    await start("http.ts", folder.path);
    await expect(startHost(optionsFor("http.ts", folder.path))).rejects.toThrow(/STORAGE_IN_USE/);
  });
});

describe("restarts", () => {
  test("keep generated keys, instances and events, and continue", async () => {
    const storageFile = join(folder.path, "restarts.db");
    const first = await startHost({ app: { folder: appsFolder, entries: ["orchestrations.ts"] }, storageFile });
    await first.start("waitsForGo", { kept: true }, "kept");
    await first.until("kept", ["Running"]);
    await first.durable("instances/kept/suspend", { method: "POST" });
    await first.raise("kept", "go", "before");
    await first.stop();

    const second = await startHost({ app: { folder: appsFolder, entries: ["orchestrations.ts"] }, storageFile });
    running.add(second);
    expect(second.keys).toEqual(first.keys);
    expect(await second.status("kept")).toMatchObject({ runtimeStatus: "Suspended", input: { kept: true } });
    await second.durable("instances/kept/resume", { method: "POST" });
    expect(await second.until("kept")).toMatchObject({ output: "before" });
    await stop(second);
  });

  test("with changed code fail an orchestration whose history no longer fits", async () => {
    const storageFile = join(folder.path, "changed.db");
    const first = await start("orchestrations.ts", folder.path, { storageFile });
    await first.start("changesCode", null, "changed");
    await expect.poll(async () => (await first.status("changed", "?showHistory=true")).historyEvents?.length).toBe(2);
    await stop(first);

    const second = await start("orchestrations.ts", folder.path, { storageFile, settings: { CODE_VERSION: "2" } });
    await second.raise("changed", "go");
    const { runtimeStatus, output } = await second.until("changed");
    expect(runtimeStatus).toBe("Failed");
    expect(output).toContain("Non-Deterministic workflow detected");
    expect(output).toContain("scheduled an activity task with sequence ID 0 and name 'echo'");
    expect(await second.warnings()).toContainEqual(
      expect.objectContaining({ code: "NON_DETERMINISTIC", subject: "changesCode" }),
    );
  });

  test("with a function gone fail what needs it", async () => {
    const storageFile = join(folder.path, "gone.db");
    const first = await start("orchestrations.ts", folder.path, { storageFile });
    await first.start("waitsForGo", null, "orphan");
    await first.until("orphan", ["Running"]);
    await stop(first);
    const second = await start("trees.ts", folder.path, { storageFile });
    await second.raise("orphan", "go");
    expect((await second.until("orphan")).output).toContain("The function 'waitsForGo' doesn't exist");
  });

  test("run a timer that was due meanwhile once, as past due", async () => {
    const storageFile = join(folder.path, "pastdue.db");
    const settings = { HOURLY_SCHEDULE: "0 0 * * * *", TIMER_FILE: join(folder.path, "pastdue.log") };
    const originMs = Date.now();
    await stop(await start("timers.ts", folder.path, { storageFile, settings, clock: { originMs, scale: 1 } }));
    // Two hours later: a clock of the same origin that was fast all along.
    const scale = 7_200_000 / Math.max(1, Date.now() - originMs);
    const later = await start("timers.ts", folder.path, {
      storageFile,
      settings,
      logLevel: "trace",
      clock: { originMs, scale },
    });
    const pastDue = (): string[] =>
      readFileSync(settings.TIMER_FILE, "utf8")
        .split("\n")
        .filter((line) => line.includes('"isPastDue":true'));
    await expect.poll(() => pastDue().filter((line) => line.includes('"hourly"')).length).toBe(1);
    await stop(later);
  });
});

describe("HTTP streaming", () => {
  test("carries bodies both ways as they come", async () => {
    const host = await start("streaming.ts", folder.path, { storageFile: ":memory:" });
    const body = new ReadableStream({
      async start(controller) {
        for (const part of ["a", "b", "c"]) {
          controller.enqueue(new TextEncoder().encode(part));
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        controller.close();
      },
    });
    const init = { method: "POST", body: body as never, duplex: "half", headers: { "x-sent": "yes" } } as RequestInit;
    const echoed = await host.call("/api/echo/me", init);
    expect([await echoed.text(), echoed.headers.get("x-name"), echoed.headers.get("x-sent")]).toEqual([
      "abc",
      "me",
      "yes",
    ]);

    const dripped = await host.call("/api/drip");
    const parts: string[] = [];
    for await (const part of dripped.body ?? []) parts.push(Buffer.from(part).toString());
    expect(parts.join("")).toBe("first second third");
    expect(parts.length).toBeGreaterThan(1);

    const failed = await host.call("/api/failing");
    expect([failed.status, await failed.text()]).toEqual([500, ""]);
  });
});
