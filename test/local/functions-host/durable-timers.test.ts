// Durable timers in this process, under a clock that the test moves: short ones, long ones, and across a backlog.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createSteppedClock } from "../../../local/clock.ts";
import { createFunctionsHost } from "../../../local/functions-host/host.ts";
import type { FunctionsHost } from "../../../local/functions-host/host.ts";
import { appsFolder, makeFolder } from "./host-process.ts";
import type { Status } from "./host-process.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const folder = makeFolder();
const clock = createSteppedClock(Date.UTC(2026, 10, 20, 12, 5));
let host: FunctionsHost;

beforeAll(async () => {
  host = await createFunctionsHost({
    app: { folder: appsFolder, entries: ["orchestrations.ts"] },
    storageFile: join(folder.path, "host.db"),
    keys: { master: "master-key" },
    clock,
    log: () => undefined,
  });
});
afterAll(async () => {
  await host.close();
  folder.remove();
});

describe("durable timers", () => {
  const api = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(`${host.url}/runtime/webhooks/durabletask/${path}`, {
      ...init,
      headers: { "x-functions-key": "master-key" },
    });
  const status = async (id: string): Promise<Status> => (await (await api(`instances/${id}`)).json()) as Status;

  test.each([
    ["short", 5 * MINUTE_MS],
    ["as long as a leg", 6 * DAY_MS],
    ["of several legs", 20 * DAY_MS],
    ["beyond what a Node timer can wait", 400 * DAY_MS],
  ])("that are %s fire in time", async (name, ms) => {
    const id = name.replaceAll(" ", "-");
    await api(`orchestrators/longTimer/${id}`, { method: "POST", body: String(ms) });
    await expect.poll(async () => (await status(id)).runtimeStatus).toBe("Running");
    await clock.advance(ms - 1);
    expect((await status(id)).runtimeStatus).toBe("Running");
    await clock.advance(1);
    await expect.poll(async () => (await status(id)).runtimeStatus).toBe("Completed");
    expect((await status(id)).output).toBe(ms);
  });
});

test("a second host in the same process is refused", async () => {
  const options = { app: { folder: appsFolder }, storageFile: ":memory:", clock, log: () => undefined };
  await expect(createFunctionsHost(options)).rejects.toMatchObject({ code: "ALREADY_IN_PROCESS" });
});
