// Runs that do not go well, restricted registries, races and attacks: what each of them ends in.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { LocalAcrTasks } from "../../../local/acr-tasks/acr-tasks.ts";
import { createScaledClock } from "../../../local/clock.ts";
import { createRebaseTask } from "../../../src/adapters/acr-tasks/index.ts";
import { decideRun, runRulesSchema, type RunState } from "../../../src/core/release/rebase-run.ts";
import type { RebaseRuns, RunHandle } from "../../../src/ports/rebase-runs.ts";
import { pushTestImage, pushTestIndex, type ImageFacts } from "../../support/test-image.ts";
import { createTaskWorld, runRebase, settle, startRun, type TaskWorld } from "./task-world.ts";

const BASE = { "etc/": {}, "etc/base": "the base\n" };
const imageOf = (model: string, more: Partial<ImageFacts> = {}): ImageFacts => ({
  layers: [
    BASE,
    { "app/": {}, "app/model.pkl": model, "app/old": "old\n" },
    { "lib/x.so": { content: "x", mtime: 1 } },
  ],
  config: { Env: [`MODEL=${model}`] },
  ...more,
});
const HANG = [process.execPath, "--eval", "setInterval(() => {}, 1e6)"] as const;

let world: TaskWorld;
let tasks: LocalAcrTasks;
let cmd: RebaseRuns;
let build: RebaseRuns;
let names = 0;
/** A repository of its own, so that what a test deletes is nobody else's. */
let repository = "";
const ref = (tag: string): string => `${world.registry.host}/${repository}:${tag}`;
const push = (tag: string, facts: ImageFacts) =>
  pushTestImage(world.registries.open(world.registry.host, repository), tag, facts);
const request = () => ({ anchor: ref("1"), candidate: ref("2") });
const deleteManifest = async (digest: string): Promise<void> => {
  const answer = await fetch(`${world.registry.url}/v2/${repository}/manifests/${digest}`, { method: "DELETE" });
  expect(answer.status).toBe(202);
};
const decide = (state: RunState, attempt = 1, now = new Date(0).toISOString()) =>
  decideRun({ state, attempt, now, rules: runRulesSchema.parse({}) });

beforeAll(async () => {
  world = await createTaskWorld();
  tasks = await world.startTasks();
  cmd = world.createRuns(tasks, { runner: "cmd" });
  build = world.createRuns(tasks, { runner: "build" });
});
afterAll(async () => world?.close());
beforeEach(async () => {
  tasks.clearFaults();
  repository = `team/app-${names++}`;
  await push("1", imageOf("one"));
  await push("2", imageOf("two"));
});

describe("a run", () => {
  test("is pinned to what its tags meant when it was started, in a handle of plain JSON", async () => {
    const handle = await startRun(cmd, request());
    expect(JSON.parse(JSON.stringify(handle))).toEqual(handle);
    expect(handle).toMatchObject({ runner: "cmd", target: ref("iot-2"), platform: "linux/amd64" });
    expect(JSON.stringify(handle)).not.toMatch(/sig=|token/i);
    await push("2", imageOf("three"));
    const state = await settle(cmd, handle);
    expect(state).toMatchObject({ state: "succeeded", log: { tail: expect.stringContaining("was successful") } });
    const summary = await cmd.collect(handle);
    expect([summary.verified, summary.candidate]).toEqual(["exact", handle.candidate]);
  });

  test("stuck in the queue says what it waits for, is canceled after its time, and done anew", async () => {
    tasks.failRuns({ kind: "stuck" });
    const handle = await startRun(cmd, request());
    const state = await cmd.look(handle);
    expect(state).toMatchObject({
      state: "pending",
      status: "Queued",
      waitsFor: `an agent of ACR Tasks to take run ${handle.runId}`,
    });
    const created = state.state === "pending" ? Date.parse(state.createdAt) : Number.NaN;
    const late = new Date(created + 30 * 60_000).toISOString();
    expect(decide(state, 1, new Date(created).toISOString()).act).toBe("wait");
    expect(decide(state, 1, late)).toMatchObject({ act: "start-again", cancel: true });
    await cmd.cancel(handle);
    expect(await settle(cmd, handle)).toMatchObject({ state: "failed", code: "RUN_CANCELED" });
    expect((await runRebase(cmd, request())).verified).toBe("exact");
  });

  test("canceled from outside is over for good, and may be canceled once more", async () => {
    tasks.failRuns({ kind: "canceled" });
    const handle = await startRun(cmd, request());
    const state = await settle(cmd, handle);
    expect(state).toMatchObject({
      state: "failed",
      code: "RUN_CANCELED",
      reason: expect.stringContaining("the run was canceled"),
      log: { tail: expect.stringContaining("was canceled") },
    });
    expect(decide(state).act).toBe("fail");
    await cmd.cancel(handle);
  });

  test("that the service breaks is tried again, then left to the other engine", async () => {
    tasks.failRuns({ kind: "error", message: "agent lost" }, 2);
    for (const [attempt, act] of [
      [1, "start-again"],
      [2, "fall-back"],
    ] as const) {
      const state = await settle(build, await startRun(build, request()));
      expect(state).toMatchObject({
        state: "failed",
        code: "RUN_ERROR",
        reason: expect.stringContaining("agent lost"),
      });
      expect(decide(state, attempt).act).toBe(act);
    }
    expect((await world.engine.rebase(request())).verified).toBe("exact");
  });

  test("whose step fails tells its last lines", async () => {
    tasks.failRuns({ kind: "failed" });
    const state = await settle(cmd, await startRun(cmd, request()));
    expect(state).toMatchObject({
      state: "failed",
      code: "RUN_FAILED",
      log: { run: expect.stringMatching(/\/runs\/c\w+$/), tail: expect.stringContaining("exit status 1") },
    });
    expect(decide(state).act).toBe("fall-back");
  });

  test("that takes too long is Timeout", async () => {
    const fast = await world.startTasks({
      clock: createScaledClock({ originMs: Date.now(), scale: 2_000 }),
      commands: { lighter: HANG },
    });
    const runs = world.createRuns(fast, { settings: { timeoutSeconds: 300 } });
    const state = await settle(runs, await startRun(runs, request()));
    expect(state).toMatchObject({ state: "failed", code: "RUN_TIMED_OUT" });
  });

  test("whose log is missing is collected all the same", async () => {
    tasks.failRuns({ kind: "no-log" });
    const handle = await startRun(cmd, request());
    expect(await settle(cmd, handle)).toMatchObject({ state: "succeeded", log: { tail: "" } });
    const direct = await world.engine.rebase({ ...request(), target: ref("direct") });
    const collected = await cmd.collect(handle);
    expect(collected).toEqual({ ...direct, result: { ...direct.result, reference: ref("iot-2") } });
  });

  test("is over even if storage does not answer for its log", async () => {
    const handle = await startRun(cmd, request());
    await settle(cmd, handle);
    tasks.failCalls({ fault: { kind: "status", status: 503 }, operation: "listLogSasUrl", times: 5 });
    expect(await cmd.look(handle)).toMatchObject({ state: "succeeded", log: { tail: "" } });
    tasks.clearFaults();
    expect((await cmd.collect(handle)).verified).toBe("exact");
  });

  test("that nobody knows is a clear end", async () => {
    const handle: RunHandle = { ...(await startRun(cmd, request())), runId: "c99zz" };
    expect(await cmd.look(handle)).toMatchObject({ state: "failed", code: "RUN_UNKNOWN" });
    await cmd.cancel(handle);
  });

  test("asked for twice because the answer was lost gives one image", async () => {
    const before = tasks.runs().length;
    tasks.failCalls({ fault: { kind: "lost" }, operation: "scheduleRun" });
    expect((await runRebase(build, request())).verified).toBe("exact");
    expect(tasks.runs().length).toBe(before + 2);
  });

  test("survives an API that throttles and breaks", async () => {
    for (const fault of [{ kind: "status", status: 429 }, { kind: "status", status: 503 }, { kind: "reset" }] as const)
      tasks.failCalls({ fault });
    expect((await runRebase(cmd, request())).verified).toBe("exact");
  });

  test("has a link to its log that works", async () => {
    const handle = await startRun(cmd, request());
    await settle(cmd, handle);
    const answer = await fetch(await cmd.linkLog(handle));
    expect(await answer.text()).toContain('"outcome":"rebase"');
  });
});

describe("images that change under way", () => {
  test("an anchor deleted before the run gets to it fails the run, by name", async () => {
    const slow = await world.startTasks({ queueDelayMs: 300 });
    for (const runner of ["cmd", "build"] as const) {
      const runs = world.createRuns(slow, { runner });
      const { digest } = await push("1", imageOf("one"));
      const handle = await startRun(runs, request());
      await deleteManifest(digest);
      const state = await settle(runs, handle);
      if (runner === "cmd") {
        expect(state).toMatchObject({ state: "failed", code: "RUN_FAILED" });
        expect(state.state === "failed" && state.log.tail).toContain(digest);
      }
      // A build needs the candidate only; that the anchor is gone shows when its layers are to be built upon.
      else await expect(runs.collect(handle)).rejects.toMatchObject({ code: "MANIFEST_UNKNOWN" });
      await expect(world.engine.rebase(request())).rejects.toMatchObject({ code: "MANIFEST_UNKNOWN" });
    }
  });

  test("an anchor deleted after the run is an error of collecting", async () => {
    const handle = await startRun(cmd, request());
    await settle(cmd, handle);
    await deleteManifest(handle.anchor.digest);
    await expect(cmd.collect(handle)).rejects.toMatchObject({ code: "MANIFEST_UNKNOWN" });
  });

  test.each(["cmd", "build"] as const)("two candidates racing for one tag both come out exact (%s)", async (runner) => {
    const runs = world.createRuns(tasks, { runner });
    await push("3", imageOf("three"));
    const target = ref("iot-latest");
    const handles = await Promise.all(
      ["2", "3"].map((tag) => startRun(runs, { anchor: ref("1"), candidate: ref(tag), target })),
    );
    for (const handle of handles) expect((await settle(runs, handle)).state).toBe("succeeded");
    const summaries = await Promise.all(handles.map((handle) => runs.collect(handle)));
    expect(summaries.map(({ verified }) => verified)).toEqual(["exact", "exact"]);
    expect(new Set(summaries.map(({ result }) => result.digest)).size).toBe(2);
    for (const { result, candidate } of summaries) {
      const byDigest = `${world.registry.host}/${repository}@${result.digest}`;
      const check = await world.engine.verify({ result: byDigest, candidate: candidate.reference, anchor: ref("1") });
      expect(check.verified).toBe("exact");
    }
  });

  test("a result that is not the candidate is never called exact", async () => {
    tasks.failRuns({ kind: "no-log" });
    const handle = await startRun(cmd, request());
    await settle(cmd, handle);
    await push("iot-2", imageOf("forged"));
    const { verified } = await cmd.collect(handle);
    expect(verified).toContain("config config differs");
    expect(verified).toContain("the anchor's layers are not the first of the result");
  });

  test.each([
    ["without the file", { "app/other": "two" }, "no /app/model.pkl"],
    ["with another content", { "app/model.pkl": "too" }, "another /app/model.pkl"],
    ["with another size", { "app/model.pkl": "three" }, "no /app/model.pkl"],
  ])("a build %s is refused", async (_name, layer, got) => {
    const client = world.connect(tasks);
    const runs = world.createRuns(tasks, {
      runner: "build",
      // A service that does not say what was pushed, so that the tag is believed, which somebody else has moved.
      client: {
        ...client,
        getRun: async (runId) => {
          const run = await client.getRun(runId);
          return { ...run, properties: { ...run.properties, outputImages: [] } };
        },
      },
    });
    const handle = await startRun(runs, request());
    expect((await settle(runs, handle)).state).toBe("succeeded");
    const builds = world.registries.open(world.registry.host, "lighter/builds");
    const tags: string[] = [];
    for await (const tag of builds.listTags()) tags.push(tag);
    for (const tag of tags) await pushTestImage(builds, tag, { layers: [layer] });
    await expect(runs.collect(handle)).rejects.toMatchObject({ code: "OUTPUT_INVALID", got });
    // What the service says was pushed is another image than the one under the tag: it is found by its digest.
    expect((await build.collect(handle)).verified).toBe("exact");
  });
});

test.each(["cmd", "build"] as const)("an image of an index is picked by its platform (%s)", async (runner) => {
  const opened = world.registries.open(world.registry.host, repository);
  for (const [tag, model] of [
    ["multi-1", "one"],
    ["multi-2", "two"],
  ] as const) {
    const images = await Promise.all(
      ["amd64", "arm64"].map((architecture) =>
        push(
          `${tag}-${architecture}`,
          imageOf(`${model} ${architecture}`, { platform: { os: "linux", architecture } }),
        ),
      ),
    );
    await pushTestIndex(opened, tag, images);
  }
  const runs = world.createRuns(tasks, { runner });
  const images = { anchor: ref("multi-1"), candidate: ref("multi-2"), platform: "linux/arm64" };
  const handle = await startRun(runs, images);
  expect(handle).toMatchObject({ platform: "linux/arm64", candidate: { reference: ref("multi-2") } });
  expect((await settle(runs, handle)).state).toBe("succeeded");
  const { verified, result } = await runs.collect(handle);
  const direct = await world.engine.rebase({ ...images, target: ref("direct") });
  expect([verified, result]).toEqual(["exact", { ...direct.result, reference: ref("iot-multi-2") }]);
});

describe("what needs no run", () => {
  test.each(["cmd", "build"] as const)("is not started: %s", async (runner) => {
    const runs = world.createRuns(tasks, { runner });
    const before = tasks.runs().length;
    await push("same", imageOf("one", { config: { Env: ["OTHER=1"] } }));
    await push("other", { layers: [{ "nothing/": {}, "nothing/in": "common" }] });
    for (const candidate of ["1", "same", "other"])
      expect(await runs.start({ anchor: ref("1"), candidate: ref(candidate) })).toMatchObject({ kind: "needless" });
    expect(tasks.runs().length).toBe(before);
  });

  test("of a build is also what has no content", async () => {
    await push("less", { ...imageOf("one"), layers: [...imageOf("one").layers, { "app/.wh.old": "" }] });
    expect(await build.start({ anchor: ref("1"), candidate: ref("less") })).toMatchObject({ kind: "needless" });
    const summary = await runRebase(cmd, { anchor: ref("1"), candidate: ref("less") });
    expect(summary).toMatchObject({ verified: "exact", files: { removed: 1 } });
  });
});

describe("attacks", () => {
  test.each(["2\nRUN id", "2;id", "$(id)", "2 --tag x", "{{.Run.ID}}", "2'"])(
    "the tag %j goes nowhere",
    async (tag) => {
      const before = tasks.calls()["scheduleRun"];
      for (const runs of [cmd, build]) {
        const images = { anchor: ref("1"), candidate: ref("2") };
        for (const wrong of [{ anchor: ref(tag) }, { candidate: ref(tag) }, { target: ref(tag) }])
          await expect(runs.start({ ...images, ...wrong })).rejects.toMatchObject({ code: "REFERENCE_INVALID" });
      }
      expect(tasks.calls()["scheduleRun"]).toBe(before);
    },
  );

  test("file names that are instructions are left to other engines by builds, with the reason, and copied by cmd", async () => {
    const name = 'app/x"]\nRUN touch /pwned\nCOPY ["y';
    const [base, app, lib] = imageOf("two").layers;
    await push("evil", { ...imageOf("two"), layers: [base ?? {}, { ...app, [name]: "evil" }, lib ?? {}] });
    const images = { anchor: ref("1"), candidate: ref("evil") };
    const start = await build.start(images);
    expect(start).toMatchObject({ kind: "unsuitable", reason: `COPY cannot name ${JSON.stringify(name)}` });
    expect((await runRebase(cmd, images)).verified).toBe("exact");
  });

  test("labels, settings and annotations are data", async () => {
    const config = { Labels: { "x\nRUN id": '"]\nUSER root' }, Env: ["A=$(id)\nRUN id"], Cmd: ["{{.Run.ID}}", "';id"] };
    await push("odd", imageOf("two", { config }));
    for (const runs of [cmd, build]) {
      const summary = await runRebase(runs, { anchor: ref("1"), candidate: ref("odd") });
      expect(summary.verified).toBe("exact");
    }
  });
});

describe("a restricted registry", () => {
  let guarded: TaskWorld;
  beforeAll(async () => {
    guarded = await createTaskWorld({
      auth: {
        challenge: "bearer",
        users: [{ name: "us", password: "our password" }],
        identities: [
          { name: "task", accessToken: "system token" },
          { name: "user", accessToken: "caller token" },
        ],
      },
      credentials: { type: "basic", username: "us", password: "our password" },
    });
    const opened = guarded.registries.open(guarded.registry.host, "team/app");
    await pushTestImage(opened, "1", imageOf("one"));
    await pushTestImage(opened, "2", imageOf("two"));
  });
  afterAll(async () => guarded?.close());
  const images = () => ({
    anchor: `${guarded.registry.host}/team/app:1`,
    candidate: `${guarded.registry.host}/team/app:2`,
  });

  test.each(["cmd", "build"] as const)(
    "with permissions by repository is served by the named identity (%s)",
    async (runner) => {
      const service = await guarded.startTasks({
        rules: { abac: true },
        identities: { "[default]": "nobody", "[caller]": "caller token" },
      });
      const unnamed = guarded.createRuns(service, { runner });
      const denied = await settle(unnamed, await startRun(unnamed, images()));
      expect(denied).toMatchObject({ state: "failed", code: "RUN_FAILED" });
      expect(denied.state === "failed" && denied.log.tail).toContain("authentication required");
      const named = guarded.createRuns(service, { runner, settings: { sourceIdentity: "[caller]" } });
      expect((await runRebase(named, images())).verified).toBe("exact");
    },
  );

  test("behind a firewall lets in the task that was made beforehand, as its own identity", async () => {
    const service = await guarded.startTasks({
      rules: { network: { bypassForTasks: true } },
      identities: { "[default]": "caller token", "[system]": "system token" },
    });
    const sent = guarded.createRuns(service, {});
    const denied = await settle(sent, await startRun(sent, images()));
    expect(denied).toMatchObject({ state: "failed", code: "RUN_FAILED" });
    expect(denied.state === "failed" && denied.log.tail).toContain("not allowed access");

    const task = { name: "lighter-rebase", location: "westeurope", settings: {} };
    const { principalId } = await createRebaseTask(guarded.connect(service), task);
    expect(principalId).toMatch(/^[0-9a-f-]{36}$/);
    const runs = guarded.createRuns(service, { task: "lighter-rebase" });
    expect((await runRebase(runs, { ...images(), target: `${guarded.registry.host}/team/app:by-task` })).verified).toBe(
      "exact",
    );
  });

  test("behind a firewall is served by agents inside it", async () => {
    const service = await guarded.startTasks({
      rules: { network: { bypassForTasks: false } },
      identities: { "[default]": "caller token" },
      agentPools: { inside: 1 },
    });
    const runs = guarded.createRuns(service, { settings: { agentPool: "inside" } });
    expect((await runRebase(runs, images())).verified).toBe("exact");
  });

  test("that takes no tasks refuses at once, so that the other engine can have it", async () => {
    const service = await guarded.startTasks({ rules: { tasksAllowed: false } });
    await expect(guarded.createRuns(service, {}).start(images())).rejects.toMatchObject({ code: "TASKS_NOT_ALLOWED" });
  });

  test("cannot be served by builds of a pre-created task", () => {
    expect(() => world.createRuns(tasks, { runner: "build", task: "lighter-rebase" })).toThrow(
      expect.objectContaining({ code: "SETTING_INVALID" }),
    );
  });
});
