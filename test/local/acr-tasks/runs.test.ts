// The life of runs: queues and agents, time limits, cancels, faults on demand, and what never gets into a log.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { LocalAcrTasks } from "../../../local/acr-tasks/acr-tasks.ts";
import { createScaledClock, createSteppedClock } from "../../../local/clock.ts";
import { call, getRun, readLog, schedule, taskRequest, useGround, waitFor } from "./support.ts";

const ground = useGround();
const START = Date.parse("2026-11-20T12:00:00Z");
const node = (script: string): readonly [string, ...string[]] => [process.execPath, "-e", script, "--"];
/** Starts a grandchild that outlives its parent's end, prints both pids, and stays. */
const STAY = `
const { spawn } = require("node:child_process");
const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { detached: true, stdio: "ignore" });
console.log(process.pid + " and " + child.pid + " stay");
setInterval(() => {}, 1000);
`;
const COMMANDS = { ok: node("console.log('done')"), stay: node(STAY), fail: node("process.exitCode = 3") };
const OK = "steps: [{cmd: $Registry/ok}]";

const statuses = (service: LocalAcrTasks): string[] => service.runs().map(({ status }) => status);

async function until(what: string, look: () => boolean | Promise<boolean>): Promise<void> {
  for (let attempts = 0; attempts < 1_500; attempts++) {
    if (await look()) return;
    await delay(10);
  }
  throw new Error(`never: ${what}`);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A zombie that nobody has waited for yet has ended.
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
}

/** What was killed needs a moment to be gone. */
const untilGone = (pids: readonly number[]): Promise<void> => until("all are gone", () => !pids.some(isAlive));

describe("the queue", () => {
  test("holds a run for its delay and moves it through its states by the clock", async () => {
    const clock = createSteppedClock(START);
    const service = await ground().start({ clock, queueDelayMs: 600_000, commands: COMMANDS });
    const runId = await schedule(service, taskRequest(OK));
    await clock.advance(599_999);
    expect((await getRun(service, runId)).properties.status).toBe("Queued");
    await clock.advance(1);
    const { properties } = await waitFor(service, runId);
    expect(properties).toMatchObject({
      status: "Succeeded",
      createTime: "2026-11-20T12:00:00.000Z",
      startTime: "2026-11-20T12:10:00.000Z",
      finishTime: "2026-11-20T12:10:00.000Z",
    });
  });

  test("gives as many runs at a time as there are agents, in order, and pools of their own", async () => {
    const service = await ground().start({ agents: 1, agentPools: { pool: 1 }, commands: COMMANDS });
    const stay = "steps: [{cmd: $Registry/stay}]";
    const [first, second] = [await schedule(service, taskRequest(stay)), await schedule(service, taskRequest(OK))];
    const third = await schedule(service, taskRequest(OK, { agentPoolName: "pool" }));
    await waitFor(service, first, (status) => status === "Running");
    expect((await waitFor(service, third)).properties.status).toBe("Succeeded");
    expect((await getRun(service, second)).properties.status).toBe("Queued");
    await call(service, "POST", `runs/${first}/cancel`);
    expect((await waitFor(service, second)).properties.status).toBe("Succeeded");
    expect(statuses(service)).toEqual(["Canceled", "Succeeded", "Succeeded"]);
  });
});

describe("a run that goes on", () => {
  async function startStaying(more: Readonly<Record<string, unknown>> = {}): Promise<{
    readonly service: LocalAcrTasks;
    readonly clock: ReturnType<typeof createSteppedClock>;
    readonly runId: string;
    readonly pids: readonly number[];
  }> {
    const clock = createSteppedClock(START);
    const service = await ground().start({ clock, commands: COMMANDS });
    const runId = await schedule(service, taskRequest(`steps: [{cmd: $Registry/stay, timeout: 20000}]`, more));
    await clock.advance(0);
    await waitFor(service, runId, (status) => status === "Running");
    const { logLink } = (await call<{ logLink: string }>(service, "POST", `runs/${runId}/listLogSasUrl`)).body;
    let pids: number[] = [];
    await until("the program says its pids", async () => {
      const text = await (await fetch(logLink)).text();
      pids = (/(\d+) and (\d+) stay/.exec(text) ?? []).slice(1).map(Number);
      return pids.length === 2;
    });
    expect(pids.map(isAlive)).toEqual([true, true]);
    return { service, clock, runId, pids };
  }

  test("is ended with all its processes when it is canceled, once", async () => {
    const { service, runId, pids } = await startStaying();
    expect((await call(service, "POST", `runs/${runId}/cancel`)).status).toBe(200);
    const { properties } = await waitFor(service, runId);
    expect(properties).toMatchObject({ status: "Canceled", provisioningState: "Canceled" });
    await untilGone(pids);
    const { text, outcome } = await readLog(service, runId);
    expect([outcome, text]).toEqual(["canceled", expect.stringContaining("was canceled") as string]);
    const again = await call(service, "POST", `runs/${runId}/cancel`);
    expect([again.status, again.body.error.code]).toEqual([409, "RunNotCancellable"]);
  });

  test("is ended by its time limit", async () => {
    const { service, clock, runId, pids } = await startStaying({ timeout: 900 });
    await clock.advance(899_999);
    expect((await getRun(service, runId)).properties.status).toBe("Running");
    await clock.advance(1);
    const { properties } = await waitFor(service, runId);
    expect(properties).toMatchObject({ status: "Timeout", finishTime: "2026-11-20T12:15:00.000Z" });
    expect((await readLog(service, runId)).outcome).toBe("timedout");
    await untilGone(pids);
  });

  test("ends with the service", async () => {
    const { service, pids } = await startStaying();
    await service.close();
    expect(statuses(service)).toEqual(["Canceled"]);
    await untilGone(pids);
  });
});

describe("a step", () => {
  test("is ended after ten minutes unless it says otherwise, on a scaled clock too", async () => {
    const clock = createScaledClock({ originMs: Date.now(), scale: 1_200 });
    const service = await ground().start({ clock, commands: COMMANDS });
    const runId = await schedule(service, taskRequest("steps: [{cmd: $Registry/stay}]"));
    expect((await waitFor(service, runId)).properties.status).toBe("Failed");
    expect((await readLog(service, runId)).text).toContain("run step acb_step_0: got more than 600 s");
  });

  test("is tried again as often as it says, and may be ignored", async () => {
    const service = await ground().start({
      clock: createScaledClock({ originMs: Date.now(), scale: 1_000 }),
      commands: COMMANDS,
    });
    const yaml = "steps: [{cmd: $Registry/fail, retries: 2, ignoreErrors: true}, {cmd: $Registry/ok}]";
    const runId = await schedule(service, taskRequest(yaml));
    expect((await waitFor(service, runId)).properties.status).toBe("Succeeded");
    const { text } = await readLog(service, runId);
    expect(text.match(/Launching container/g)).toHaveLength(4);
    expect(text).toContain("exit status 3, want exit status 0, but is set to ignore errors");
  });

  const unrunnable: readonly [what: string, yaml: string, log: RegExp][] = [
    [
      "an image without a command here",
      "steps: [{cmd: $Registry/other:1 run}]",
      /pull 127\.0\.0\.1:\d+\/other:1: got pull access denied/,
    ],
    ["an image of another registry", "steps: [{cmd: ok}]", /Unable to find image 'ok' locally/],
    [
      "a command line that a shell would act on",
      "steps: [{cmd: $Registry/ok $(id)}]",
      /split command .*got \$ without quotes/,
    ],
    ["an environment of several words", "steps: [{cmd: $Registry/ok, env: ['A=b c']}]", /read env A: want one word/],
    ["options of docker", "steps: [{cmd: --privileged $Registry/ok}]", /run cmd: got --privileged/],
    ["both cmd and push", "steps: [{cmd: a, push: [b]}]", /step acb_step_0: got 2 of them/],
    ["no step", "steps: []", /read task steps/],
    ["an unknown field", "steps: [{cmd: a, volumes: [b]}]", /read task steps.0/],
    [
      "steps that wait for each other",
      "steps: [{id: a, cmd: x, when: [b]}, {id: b, cmd: x, when: [a]}]",
      /a circle of when/,
    ],
    ["a wait for nobody", "steps: [{cmd: x, when: [y]}]", /when: y/],
    ["a template with functions", "steps: [{cmd: '{{ upper .Run.ID }}'}]", /fill template/],
    ["what is no YAML", "steps: [", /read task its YAML/],
  ];
  for (const [what, yaml, log] of unrunnable) {
    test(`fails for ${what}`, async () => {
      const service = await ground().start({ commands: COMMANDS });
      const runId = await schedule(service, taskRequest(yaml));
      expect((await waitFor(service, runId)).properties.status).toBe("Failed");
      expect((await readLog(service, runId)).text).toMatch(log);
    });
  }

  test("goes in the order that when allows", async () => {
    const service = await ground().start({ commands: { say: node("console.log('say ' + process.argv[1])") } });
    const yaml = "steps: [{id: a, cmd: $Registry/say one, when: [b]}, {id: b, cmd: $Registry/say two, when: ['-']}]";
    const runId = await schedule(service, taskRequest(yaml));
    await waitFor(service, runId);
    expect((await readLog(service, runId)).text).toMatch(/say two\n[^]*say one\n/);
  });
});

describe("a secret", () => {
  test("is never in a log, in whatever pieces a program prints it", async () => {
    const script = `
const secret = process.argv[1];
process.stdout.write("in one: " + secret + "\\nin two: " + secret.slice(0, 4));
setTimeout(() => process.stdout.write(secret.slice(4) + " end"), 100);
`;
    const service = await ground().start({ commands: { tell: node(script) }, keepFolders: true });
    const values = [{ name: "word", value: "s3cr3t-w0rd", isSecret: true }];
    const runId = await schedule(service, taskRequest("steps: [{cmd: '$Registry/tell {{.Values.word}}'}]", { values }));
    expect((await waitFor(service, runId)).properties.status).toBe("Succeeded");
    const { text } = await readLog(service, runId);
    expect(text).toContain("in one: ***\nin two: *** end");
    expect(text).not.toContain("s3cr3t");
    expect(JSON.stringify(await getRun(service, runId))).not.toContain("s3cr3t");
  });
});

describe("a fault on demand", () => {
  test("keeps a run in Queued until it is canceled", async () => {
    const clock = createSteppedClock(START);
    const service = await ground().start({ clock, commands: COMMANDS });
    service.failRuns({ kind: "stuck" });
    const [stuck, next] = [await schedule(service, taskRequest(OK)), await schedule(service, taskRequest(OK))];
    await clock.advance(1);
    expect((await waitFor(service, next)).properties.status).toBe("Succeeded");
    await clock.advance(24 * 3_600_000);
    expect((await getRun(service, stuck)).properties.status).toBe("Queued");
    await call(service, "POST", `runs/${stuck}/cancel`);
    expect((await getRun(service, stuck)).properties.status).toBe("Canceled");
  });

  test("ends runs in Error, in Failed at a step, and in Canceled", async () => {
    const service = await ground().start({ commands: COMMANDS });
    service.failRuns({ kind: "error", message: "agent lost" });
    service.failRuns({ kind: "failed", step: 1 });
    service.failRuns({ kind: "canceled" });
    const yaml = "steps: [{cmd: $Registry/ok}, {cmd: $Registry/ok}]";
    const runs = [];
    for (let each = 0; each < 4; each++) runs.push(await waitFor(service, await schedule(service, taskRequest(yaml))));
    expect(statuses(service)).toEqual(["Error", "Failed", "Canceled", "Succeeded"]);
    expect(runs[0]?.properties.runErrorMessage).toBe("agent lost");
    expect((await readLog(service, "c01")).outcome).toBe("internalerror");
    expect((await readLog(service, "c02")).text.match(/^done$/gm)).toHaveLength(1);
  });

  test("cancels from outside after a while", async () => {
    const clock = createSteppedClock(START);
    const service = await ground().start({ clock, queueDelayMs: 60_000, commands: COMMANDS });
    service.failRuns({ kind: "canceled", afterMs: 30_000 });
    const runId = await schedule(service, taskRequest(OK));
    await clock.advance(30_000);
    expect((await getRun(service, runId)).properties.status).toBe("Canceled");
  });

  test("leaves a run without its log", async () => {
    const service = await ground().start({ commands: COMMANDS });
    service.failRuns({ kind: "no-log" });
    const runId = await schedule(service, taskRequest(OK));
    expect((await waitFor(service, runId)).properties.status).toBe("Succeeded");
    const { logLink } = (await call<{ logLink: string }>(service, "POST", `runs/${runId}/listLogSasUrl`)).body;
    expect((await fetch(logLink)).status).toBe(404);
  });

  test("refuses calls, or loses their answers", async () => {
    const service = await ground().start({ commands: COMMANDS });
    service.failCalls({ operation: "scheduleRun", fault: { kind: "status", status: 429 } });
    service.failCalls({ operation: "scheduleRun", fault: { kind: "status", status: 500 } });
    service.failCalls({ operation: "scheduleRun", fault: { kind: "lost" } });
    service.failCalls({ operation: "getRun", fault: { kind: "reset" }, times: 2 });
    const throttled = await call(service, "POST", "scheduleRun", taskRequest(OK));
    expect([throttled.status, throttled.headers.get("retry-after")]).toEqual([429, "5"]);
    expect((await call(service, "POST", "scheduleRun", taskRequest(OK))).body.error.code).toBe("InternalServerError");
    expect(service.runs()).toEqual([]);
    await expect(call(service, "POST", "scheduleRun", taskRequest(OK))).rejects.toThrow("fetch failed");
    expect(service.runs()).toHaveLength(1);
    await expect(getRun(service, "c01")).rejects.toThrow("fetch failed");
    service.clearFaults();
    expect((await waitFor(service, "c01")).properties.status).toBe("Succeeded");
    expect(service.calls()["scheduleRun"]).toBe(3);
  });
});

test("runs leave nothing behind", async () => {
  const service = await ground().start({ commands: COMMANDS });
  await waitFor(service, await schedule(service, taskRequest(OK)));
  const folders = readdirSync(ground().folder).filter((name) => name.startsWith("runs-"));
  expect(folders.length).toBeGreaterThan(0);
  expect(existsSync(join(ground().folder, folders.at(-1) as string, "c01"))).toBe(false);
});
