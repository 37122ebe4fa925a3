// Timer functions in this process, under a clock that the test moves.
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createSteppedClock } from "../../../local/clock.ts";
import { createFunctionsHost } from "../../../local/functions-host/host.ts";
import type { FunctionsHost } from "../../../local/functions-host/host.ts";
import type { LogEntry } from "../../../local/functions-host/log.ts";
import { appsFolder, makeFolder } from "./host-process.ts";

const MINUTE_MS = 60_000;
const folder = makeFolder();
const timerFile = join(folder.path, "timers.log");
const clock = createSteppedClock(Date.UTC(2026, 10, 20, 12, 5));
const log: LogEntry[] = [];
let host: FunctionsHost;

beforeAll(async () => {
  host = await createFunctionsHost({
    app: { folder: appsFolder, entries: ["timers.ts"] },
    storageFile: join(folder.path, "host.db"),
    settings: { HOURLY_SCHEDULE: "0 0 * * * *", TIMER_FILE: timerFile },
    keys: { master: "master-key" },
    clock,
    log: (entry) => log.push(entry),
  });
});
afterAll(async () => {
  await host.close();
  folder.remove();
});

interface Noted {
  readonly name: string;
  readonly isPastDue: boolean;
  readonly schedule: { readonly adjustForDST: boolean };
  readonly scheduleStatus: { readonly last: string; readonly next: string; readonly lastUpdated: string } | null;
  readonly retry?: { readonly retryCount: number; readonly maxRetryCount: number };
}

function noted(name: string): Noted[] {
  const lines = readFileSync(timerFile, { encoding: "utf8", flag: "a+" }).split("\n").filter(Boolean);
  return lines.map((line) => JSON.parse(line) as Noted).filter((entry) => entry.name === name);
}

test("timers run at startup when they say so", async () => {
  await expect.poll(() => noted("atStart").length).toBe(1);
});

describe("timer functions", () => {
  beforeEach(() => rmSync(timerFile, { force: true }));

  test("follow their schedule on the host's clock and know last and next occurrence", async () => {
    await clock.advance(54 * MINUTE_MS);
    expect(noted("hourly")).toEqual([]);
    await clock.advance(61 * MINUTE_MS);
    const [first, second] = noted("hourly");
    expect(first).toMatchObject({
      isPastDue: false,
      schedule: { adjustForDST: true },
      scheduleStatus: { last: "0001-01-01T00:00:00+00:00", next: "2026-11-20T13:00:00.000Z" },
    });
    expect(second?.scheduleStatus).toEqual({
      last: "2026-11-20T13:00:00.000Z",
      next: "2026-11-20T14:00:00.000Z",
      lastUpdated: "2026-11-20T13:00:00.000Z",
    });
  });

  test("under a minute are not monitored", async () => {
    await clock.advance(MINUTE_MS);
    expect(noted("often").map(({ scheduleStatus }) => scheduleStatus)).toEqual([null, null, null]);
  });

  test("with a time span repeat at that interval", async () => {
    await clock.advance(30 * MINUTE_MS);
    const runs = noted("interval");
    expect(runs.length).toBe(3);
    expect(runs[0]?.schedule).toEqual({ adjustForDST: false });
  });

  test("that fail run again as their retry policy says, then wait for the next occurrence", async () => {
    await clock.advance(20 * MINUTE_MS);
    rmSync(timerFile, { force: true });
    await clock.advance(60 * MINUTE_MS);
    expect(noted("failing").map(({ retry }) => retry?.retryCount)).toEqual([0, 1, 2]);
    expect(log.filter(({ message }) => message === "timer failed").length).toBeGreaterThanOrEqual(1);
  });

  test("run by hand over the admin API", async () => {
    const response = await fetch(`${host.url}/admin/functions/hourly`, {
      method: "POST",
      headers: { "x-functions-key": "master-key", "content-type": "application/json" },
      body: '{"input":""}',
    });
    expect(response.status).toBe(202);
    await expect.poll(() => noted("hourly").length).toBe(1);
    expect((await fetch(`${host.url}/admin/functions/hourly`, { method: "POST" })).status).toBe(401);
  });
});
