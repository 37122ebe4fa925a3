// ACR Tasks as a part of the stack: beside its registry and on its clock.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createStack } from "../../../local/stack.ts";
import { schedule, taskRequest, waitFor } from "./support.ts";

test("the stack starts it when asked", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lighter-stack-tasks-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
  const app = join(import.meta.dirname, "..", "functions-host", "apps");
  const stack = await createStack({
    folder,
    timeScale: 60,
    products: () => [],
    app: { folder: app, entries: ["orchestrations.ts"] },
    acrTasks: { commands: { ok: [process.execPath, "-e", "console.log('done')"] }, queueDelayMs: 60_000 },
  });
  onTestFinished(() => stack.close());
  const service = stack.acrTasks;
  if (service === undefined) throw new Error("no ACR Tasks");
  const { properties } = await waitFor(service, await schedule(service, taskRequest("steps: [{cmd: $Registry/ok}]")));
  expect(properties.status).toBe("Succeeded");
  const waitedMs = Date.parse(properties.startTime ?? "") - Date.parse(properties.createTime);
  expect(waitedMs).toBeGreaterThanOrEqual(60_000);
});
