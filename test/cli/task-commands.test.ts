// `lighter rebase --engine acr-tasks` and `lighter bootstrap` as real processes against the embedded ACR Tasks.
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { LocalAcrTasks } from "../../local/acr-tasks/acr-tasks.ts";
import { createTaskWorld, type TaskWorld } from "../adapters/engines/task-world.ts";
import { tryRun, type RunResult } from "../support/run.ts";
import { pushTestImage } from "../support/test-image.ts";

const ROOT = resolve(import.meta.dirname, "../..");
let world: TaskWorld;
let tasks: LocalAcrTasks;
const ref = (tag: string): string => `${world.registry.host}/team/app:${tag}`;
const lighter = (args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<RunResult> =>
  tryRun(process.execPath, [join(ROOT, "src/cli/main.ts"), ...args], {
    env: {
      ACR_TASKS_ENDPOINT: tasks.url,
      ACR_TASKS_SUBSCRIPTION_ID: tasks.subscriptionId,
      ACR_TASKS_RESOURCE_GROUP: tasks.resourceGroup,
      ACR_TASKS_REGISTRY: tasks.registryName,
      ...env,
    },
  });
const rebase = (...more: string[]): Promise<RunResult> =>
  lighter(["rebase", ref("1"), ref("2"), "--engine", "acr-tasks", "--json", ...more]);

beforeAll(async () => {
  world = await createTaskWorld();
  tasks = await world.startTasks({ keepFolders: true });
  const repository = world.registries.open(world.registry.host, "team/app");
  for (const [tag, model] of [
    ["1", "one"],
    ["2", "two"],
  ] as const)
    await pushTestImage(repository, tag, { layers: [{ base: "base" }, { "app/": {}, "app/model.pkl": model }] });
});
afterAll(async () => world?.close());
beforeEach(() => tasks.clearFaults());

describe("lighter rebase --engine acr-tasks", () => {
  test.each(["cmd", "build"])("with the runner %s prints what direct prints", async (runner) => {
    const direct = await lighter(["rebase", ref("1"), ref("2"), "--tag", "direct", "--json"]);
    const { code, stdout, stderr } = await rebase("--runner", runner, "--tag", runner);
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringMatching(/^run c\w+ \((cmd|build)\)\n/) });
    const summary = JSON.parse(stdout) as { result: object };
    const wanted = JSON.parse(direct.stdout) as { result: object };
    expect(summary).toEqual({ ...wanted, result: { ...wanted.result, reference: ref(runner) } });
  });

  test("does the work itself when runs fail, and says why", async () => {
    tasks.failRuns({ kind: "failed" });
    const { code, stdout, stderr } = await rebase();
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ verified: "exact" });
    expect(stderr).toContain("done here instead: a step of the run failed");
    expect(stderr).toContain("exit status 1");
  });

  test("ends with 3 when somebody cancels the run", async () => {
    tasks.failRuns({ kind: "canceled" });
    const { code, stdout } = await rebase();
    expect(code).toBe(3);
    expect(JSON.parse(stdout)).toMatchObject({
      error: { code: "RUN_FAILED", message: expect.stringContaining("canceled") },
    });
  });

  test.each([
    [["--registry-name", "a/b"], "SETTING_INVALID"],
    [["--subscription", "x"], "SETTING_INVALID"],
  ])("ends with 2 for %j", async (options, code) => {
    const outcome = await rebase(...options);
    expect(outcome.code).toBe(2);
    expect(JSON.parse(outcome.stdout)).toMatchObject({ error: { code } });
  });

  test("ends with 2 when it is not told where, or for how long in vain", async () => {
    const args = ["rebase", ref("1"), ref("2"), "--engine", "acr-tasks", "--json"];
    const nowhere = await lighter(args, { ACR_TASKS_REGISTRY: "" });
    expect([nowhere.code, nowhere.stdout]).toEqual([2, expect.stringContaining("ACR_TASKS_REGISTRY")]);
    expect((await rebase("--timeout", "5")).code).toBe(2);
  });
});

describe("lighter bootstrap", () => {
  test("has a Dockerfile whose sources are all in the context it lets through", () => {
    const dockerfile = readFileSync(join(ROOT, "Dockerfile"), "utf8");
    const sources = [...dockerfile.matchAll(/^COPY (.+) \S+$/gm)].flatMap(([, list = ""]) => list.split(" "));
    expect(sources).toEqual(["package.json", "package-lock.json", "dist/src"]);
    const allowed = readFileSync(join(ROOT, ".dockerignore"), "utf8")
      .split("\n")
      .filter((line) => line.startsWith("!"));
    expect(allowed).toEqual(["!package.json", "!package-lock.json", "!dist/src/**/*.js"]);
    expect(dockerfile).toContain("/lighter/dist/src/cli/main.js");
  });

  // The embedded executor has no container to run npm in, so that this build cannot succeed here.
  test("uploads the program, shows the log, and ends with 3 when the build fails", async () => {
    const node = ref("1");
    const { code, stdout, stderr } = await lighter([
      "bootstrap",
      "--image",
      "tools/lighter:9",
      "--node-image",
      node,
      "--json",
    ]);
    const result = JSON.parse(stdout) as { readonly runId: string };
    expect(code).toBe(3);
    expect(result).toMatchObject({
      image: "tools/lighter:9",
      state: "failed",
      reason: expect.stringContaining("Failed"),
    });
    expect(stderr).toContain("RUN");
    const folder = readdirSync(world.folder).filter((name) => name.startsWith("tasks-"))[0] ?? "";
    const kept = readdirSync(join(world.folder, folder, result.runId), { recursive: true }).map(String);
    for (const path of ["Dockerfile", "package-lock.json", "dist/src/cli/main.js"])
      expect(kept.some((name) => name.endsWith(`/${path}`))).toBe(true);
    expect(kept.filter((name) => /\.(map|d\.ts)$|node_modules|dist\/local/.test(name))).toEqual([]);
  });

  test("wants to know where a task goes", async () => {
    const { code, stderr } = await lighter(["bootstrap", "--task", "lighter-rebase"]);
    expect([code, stderr]).toEqual([2, expect.stringContaining("--location")]);
  });
});
