// Releases whose rebases ACR Tasks does: by Lighter's image, by a sealed build, and here after all when runs fail.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CALM_BEHAVIOUR } from "../../local/edge-device/accounted-behaviour.ts";
import { findProjectFolder } from "../../local/stack.ts";
import { createStackFixture, type StackFixture } from "../support/stack-fixture.ts";

const LIGHTER = [process.execPath, join(findProjectFolder(), "dist", "src", "cli", "main.js")] as const;
/** The stack's clock is fast, and a process is not. */
const PATIENT = { timeoutSeconds: 28_800, runs: { attempts: 2, queueMinutes: 60 } };

describe.each(["cmd", "build"] as const)("a product whose rebases are runs of kind %s", (runner) => {
  let fixture: StackFixture;

  beforeAll(async () => {
    fixture = await createStackFixture({
      timeScale: 600,
      product: { engine: { kind: "acr-tasks", runner, ...PATIENT } },
      acrTasks: { commands: { lighter: LIGHTER }, executor: "own" },
    });
    fixture.addFleet(20, CALM_BEHAVIOUR);
    await fixture.stack.call("POST", "products/detector/baseline", { absent: true });
    await fixture.push(await fixture.build(1), "1");
    await fixture.finished("1");
  });

  afterAll(async () => {
    await fixture?.close();
  });

  test("releases what the run made, with its name and the end of its log", async () => {
    await fixture.push(await fixture.build(2), "2");
    const release = await fixture.finished("2");
    expect(release).toMatchObject({
      state: "completed",
      image: { mode: "rebased", verified: "exact" },
      run: { attempt: 1, state: "succeeded", run: expect.stringContaining("/runs/") },
    });
    expect(fixture.stack.acrTasks?.runs()).toHaveLength(1);
  });

  test("starts a failed run again, and does the work here when that fails too", async () => {
    fixture.stack.acrTasks?.failRuns({ kind: "error" }, 2);
    await fixture.push(await fixture.build(3), "3");
    const release = await fixture.finished("3");
    expect(release).toMatchObject({
      state: "completed",
      image: { mode: "rebased", verified: "exact" },
      run: { attempt: 2, state: "failed" },
    });
  });

  test("ends when somebody cancels its run, and says so", async () => {
    fixture.stack.acrTasks?.failRuns({ kind: "canceled", afterMs: 1_000 });
    await fixture.push(await fixture.build(4), "4");
    expect(await fixture.finished("4")).toMatchObject({ state: "failed", reason: expect.stringMatching(/cancel/i) });
  });
});
