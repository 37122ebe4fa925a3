// The orchestrators with scripted activities: the order of steps, every way to fail, several hubs, bounded histories.
import { describe, expect, test } from "vitest";
import { LighterError } from "../../src/core/errors.ts";
import type { Activities } from "../../src/activities/index.ts";
import { createDriver, type Driven, type Script } from "./drive.ts";
import { createReplayer } from "./replay.ts";

const drive = createDriver(await createReplayer());

const RELEASE_ID = "detector-0123456789ab-1";
const RINGS = ["canary", "early", "all"];

/** The answer of an activity, or what it throws. */
type Answers = { readonly [Name in keyof Activities]?: (input: Parameters<Activities[Name]>[0]) => unknown };

/** Looks of a watch: waits `looks` times a minute apart, then gives the outcome. */
function lookTimes(looks: number, outcome: unknown): (input: object) => unknown {
  return (input) => {
    const { state } = input as { readonly state?: unknown };
    const seen = typeof state === "number" ? state : 0;
    return seen < looks ? { kind: "wait", state: seen + 1, waitMs: 60_000 } : { kind: "done", outcome };
  };
}

/** Everything goes well, on the given hubs. */
function goodAnswers(hubs: readonly string[] = ["main"], layers = 2): Answers {
  return {
    beginRelease: () => ({ proceed: true, product: "detector", hubs, rings: RINGS, anchor: "r/app:1@sha256:a" }),
    checkStanding: () => ({ kind: "current" }),
    compareImages: () => ({
      layers: Array.from({ length: layers }, (_layer, index) => ({ registry: "r", repository: "app", layer: index })),
    }),
    indexLayer: () => ({ entries: 1, cached: false }),
    planRelease: () => ({ outcome: "rebase" }),
    rebaseImage: () => ({ kind: "deploy", image: "r/app:iot-2@sha256:b", rebased: true }),
    verifyImage: () => undefined,
    takeWholeImage: () => ({ kind: "deploy", image: "r/app:2@sha256:b", rebased: false }),
    finishRelease: ({ state }) => state,
    acquireHub: lookTimes(0, { kind: "acquired" }),
    assignSlots: lookTimes(0, { kind: "assigned", assigned: 3 }),
    openRollout: () => undefined,
    watchStage: lookTimes(1, { kind: "passed", reason: "fine" }),
    startRollback: () => ({ needed: true }),
    watchRollback: lookTimes(1, { complete: true, reason: "all restored" }),
    completeRollout: () => undefined,
    leaveRollout: () => undefined,
  };
}

const scriptOf = (answers: Answers, wake?: Script["wake"]): Script => ({
  activity: (name, input) => (answers[name as keyof Activities] as (given: unknown) => unknown)(input),
  ...(wake === undefined ? {} : { wake }),
});

const release = (changes: Answers = {}, base = goodAnswers()): Promise<Driven> =>
  drive("release", RELEASE_ID, { releaseId: RELEASE_ID }, scriptOf({ ...base, ...changes }));

const rollout = (changes: Answers = {}): Promise<Driven> =>
  drive(
    "rollout",
    `${RELEASE_ID}.main`,
    { releaseId: RELEASE_ID, hub: "main", rings: RINGS },
    scriptOf({ ...goodAnswers(), ...changes }),
  );

const namesOf = ({ calls }: Driven): string[] => calls.map(({ name }) => name);
const finishOf = ({ calls }: Driven): unknown => calls.findLast(({ name }) => name === "finishRelease")?.input;
const leaveOf = ({ calls }: Driven): unknown => calls.findLast(({ name }) => name === "leaveRollout")?.input;
const fail = (code: string): never => {
  throw new LighterError(code, { operation: "do", subject: code.toLowerCase(), got: "no luck" });
};

describe("a release", () => {
  test("takes its steps in order: prepare, verify, ring after ring, finish", async () => {
    const driven = await release();
    expect(driven.output).toBe("completed");
    expect(namesOf(driven)).toEqual([
      "beginRelease",
      "checkStanding",
      "compareImages",
      "indexLayer",
      "indexLayer",
      "planRelease",
      "rebaseImage",
      "verifyImage",
      "acquireHub",
      "assignSlots",
      "openRollout",
      ...RINGS.flatMap(() => ["watchStage", "watchStage"]),
      "completeRollout",
      "finishRelease",
    ]);
    const rings = driven.calls.filter(({ name }) => name === "watchStage").map(({ input }) => input["ring"]);
    expect(rings).toEqual([0, 0, 1, 1, 2, 2]);
  });

  test("has the rebase done elsewhere, and does it here where that does not work out", async () => {
    const begun = { proceed: true, product: "p", hubs: ["main"], rings: RINGS, anchor: "r/app:1", engine: "acr-tasks" };
    const prepared = { kind: "deploy", image: "r/app:iot-2@sha256:b", rebased: true };
    const elsewhere = (outcome: unknown): ReturnType<typeof release> =>
      release({ beginRelease: () => begun, watchRun: lookTimes(2, outcome) });
    const run = await elsewhere({ kind: "prepared", prepared });
    expect(namesOf(run)).not.toContain("rebaseImage");
    expect(namesOf(run)).toContain("verifyImage");
    expect(run.output).toBe("completed");
    expect(namesOf(await elsewhere({ kind: "fall-back", reason: "no agent" }))).toContain("rebaseImage");
    for (const state of ["failed", "superseded", "aborted"]) {
      const ended = await elsewhere({ kind: state, reason: "so it is" });
      expect(finishOf(ended)).toMatchObject({ state, reason: "so it is" });
    }
  });

  test("waits where its drift is held, and goes on, or ends, as it is answered", async () => {
    const held = { planRelease: () => ({ outcome: "rebase", gate: { kind: "hold", reason: "drift" } }) };
    const answered = (kind: string): ReturnType<typeof release> =>
      release({ ...held, watchHold: lookTimes(2, { kind, reason: kind }) });
    const approved = await answered("approved");
    expect(namesOf(approved).filter((name) => name === "watchHold")).toHaveLength(3);
    expect(approved.output).toBe("completed");
    for (const state of ["rejected", "superseded", "aborted"]) {
      const ended = await answered(state);
      expect(ended.output).toBe(state);
      expect(namesOf(ended).slice(-2)).toEqual(["watchHold", "finishRelease"]);
    }
  });

  test("ends where its drift is rejected, before anything is built", async () => {
    const gate = { kind: "reject", reason: "drift of class system" };
    const driven = await release({ planRelease: () => ({ outcome: "rebase", gate }) });
    expect(finishOf(driven)).toMatchObject({ state: "rejected", reason: "drift of class system" });
    expect(namesOf(driven)).not.toContain("rebaseImage");
  });

  test("ships the whole image where a delta would not pay", async () => {
    const driven = await release({ planRelease: () => ({ outcome: "rebase", whole: "too big" }) });
    expect(namesOf(driven)).toContain("takeWholeImage");
    expect(namesOf(driven)).not.toContain("rebaseImage");
    expect(driven.output).toBe("completed");
  });

  test("tells every activity the orchestrator's time, not the machine's", async () => {
    const driven = await release();
    const times = driven.calls.flatMap(({ input }) => (typeof input["now"] === "string" ? [input["now"]] : []));
    expect(times).toHaveLength(driven.calls.length - 2);
    expect(times).toEqual(times.toSorted((a, b) => Date.parse(a) - Date.parse(b)));
    expect(new Set(times.map((now) => now.slice(0, 13)))).toEqual(new Set(["2026-01-05T00"]));
  });

  test("takes the whole image where the fleet holds none that is known", async () => {
    const driven = await release({
      beginRelease: () => ({ proceed: true, product: "p", hubs: ["main"], rings: RINGS }),
    });
    expect(namesOf(driven).slice(0, 4)).toEqual(["beginRelease", "checkStanding", "takeWholeImage", "acquireHub"]);
    expect(driven.output).toBe("completed");
  });

  test("does not verify an image that was not rebased", async () => {
    const driven = await release({
      rebaseImage: () => ({ kind: "deploy", image: "r/app:2@sha256:b", rebased: false }),
    });
    expect(namesOf(driven)).not.toContain("verifyImage");
    expect(driven.output).toBe("completed");
  });

  test("does nothing for a record that is over", async () => {
    const driven = await release({ beginRelease: () => ({ proceed: false }) });
    expect(namesOf(driven)).toEqual(["beginRelease"]);
  });

  test.each([
    ["superseded", { kind: "superseded", reason: "by a newer one" }, "superseded"],
    ["aborted", { kind: "aborted", reason: "asked for" }, "aborted"],
    ["told to roll back before anything was deployed", { kind: "rollback", reason: "asked for" }, "aborted"],
  ])("ends before any work when it is %s", async (_what, standing, state) => {
    const driven = await release({ checkStanding: () => standing });
    expect(namesOf(driven)).toEqual(["beginRelease", "checkStanding", "finishRelease"]);
    expect(finishOf(driven)).toMatchObject({ state, reason: standing.reason });
  });

  test("ends with nothing to do without touching a hub", async () => {
    const driven = await release({ rebaseImage: () => ({ kind: "nothing", reason: "the same content" }) });
    expect(namesOf(driven).slice(-2)).toEqual(["rebaseImage", "finishRelease"]);
    expect(finishOf(driven)).toMatchObject({ state: "nothing-to-do", reason: "the same content" });
  });

  test.each([
    "beginRelease",
    "checkStanding",
    "compareImages",
    "indexLayer",
    "planRelease",
    "rebaseImage",
    "verifyImage",
  ])("fails with the reason, and touches no hub, when %s fails for good", async (name) => {
    const driven = await release({ [name]: () => fail("BROKEN_FOR_GOOD") });
    expect(finishOf(driven)).toMatchObject({ state: "failed", reason: "do broken_for_good: got no luck" });
    expect(namesOf(driven)).not.toContain("acquireHub");
    expect(driven).toMatchObject({ status: "Completed", output: "failed" });
  });

  test("repeats an activity that fails in passing, with growing pauses", async () => {
    let failures = 3;
    const driven = await release({
      rebaseImage: () => {
        if (failures-- > 0) throw new Error("connection reset");
        return { kind: "nothing", reason: "the same content" };
      },
    });
    expect(namesOf(driven).filter((name) => name === "rebaseImage")).toHaveLength(4);
    expect(driven.elapsedMs).toBe(5_000 + 10_000 + 20_000);
    expect(driven.output).toBe("nothing-to-do");
  });

  test("fails with the cause when every attempt fails", async () => {
    const driven = await release({
      compareImages: () => {
        throw new Error("registry down");
      },
    });
    expect(namesOf(driven).filter((name) => name === "compareImages")).toHaveLength(10);
    expect(finishOf(driven)).toMatchObject({ state: "failed", reason: expect.stringContaining("registry down") });
  });
});

describe("a release on several hubs", () => {
  const hubs = ["east", "north", "west"];
  const statesPer = (states: Readonly<Record<string, string>>): Answers => ({
    watchStage: ({ hub }) => ({ kind: "done", outcome: { kind: states[hub] ?? "passed", reason: `${hub} says so` } }),
  });

  test("rolls out on each and completes when all do", async () => {
    const driven = await release({}, goodAnswers(hubs));
    expect(driven.output).toBe("completed");
    const completed = driven.calls.filter(({ name }) => name === "completeRollout").map(({ input }) => input["hub"]);
    expect(new Set(completed)).toEqual(new Set(hubs));
    expect(completed).toHaveLength(hubs.length);
  });

  test.each([
    [{ east: "superseded" }, "superseded"],
    [{ east: "superseded", north: "aborted" }, "aborted"],
    [{ east: "superseded", north: "aborted", west: "failed" }, "rolled-back"],
  ])("takes the worst state of %j", async (states, worst) => {
    const driven = await release(statesPer(states), goodAnswers(hubs));
    expect(finishOf(driven)).toMatchObject({ state: worst });
    expect((finishOf(driven) as { reason: string }).reason).toMatch(/^east: .*; north: .*; west: /);
  });

  test("waits for the others when one hub fails beyond repair", async () => {
    const driven = await release(
      {
        acquireHub: ({ hub }) => (hub === "east" ? fail("HUB_GONE") : { kind: "done", outcome: { kind: "acquired" } }),
        leaveRollout: () => fail("LEDGER_GONE"),
      },
      goodAnswers(hubs),
    );
    expect(finishOf(driven)).toMatchObject({
      state: "failed",
      reason: expect.stringMatching(
        /^east: .*hub_gone.*; then leaving the hub failed: .*; north: all 3 rings run it; west: /,
      ),
    });
    expect(namesOf(driven).filter((name) => name === "completeRollout")).toHaveLength(2);
    expect(namesOf(driven).at(-1)).toBe("finishRelease");
  });
});

describe("a rollout", () => {
  test("goes back when a ring fails, and exposes no further ring", async () => {
    const driven = await rollout({
      watchStage: ({ ring }) => ({
        kind: "done",
        outcome: ring === 1 ? { kind: "failed", reason: "5 of 9 failed" } : { kind: "passed", reason: "fine" },
      }),
    });
    expect(namesOf(driven).slice(-5)).toEqual([
      "watchStage",
      "watchStage",
      "startRollback",
      "watchRollback",
      "watchRollback",
    ]);
    expect(driven.output).toEqual({ hub: "main", state: "rolled-back", reason: "early: 5 of 9 failed; all restored" });
  });

  test.each(["assignSlots", "openRollout", "watchStage"])("goes back when %s fails for good", async (name) => {
    const driven = await rollout({ [name]: () => fail("HUB_REFUSED") });
    expect(namesOf(driven)).toContain("startRollback");
    expect(driven.output).toMatchObject({ state: "rolled-back", reason: expect.stringContaining("hub_refused") });
  });

  test("has failed, not been aborted, when it breaks before a device was exposed", async () => {
    const driven = await rollout({ openRollout: () => fail("HUB_REFUSED"), startRollback: () => ({ needed: false }) });
    expect(driven.output).toMatchObject({ state: "failed", reason: expect.stringContaining("hub_refused") });
    expect(leaveOf(driven)).toMatchObject({ state: "failed" });
  });

  test("is aborted when it is told to roll back before a device was exposed", async () => {
    const driven = await rollout({
      watchStage: lookTimes(0, { kind: "failed", reason: "asked for" }),
      startRollback: () => ({ needed: false }),
    });
    expect(driven.output).toEqual({ hub: "main", state: "aborted", reason: "canary: asked for" });
  });

  test.each(["startRollback", "watchRollback"])("says both when %s fails too", async (name) => {
    const driven = await rollout({
      watchStage: lookTimes(0, { kind: "failed", reason: "5 of 9 failed" }),
      [name]: () => fail("NO_WAY_BACK"),
    });
    const reason = expect.stringMatching(/^canary: 5 of 9 failed; then the rollback failed: .*no_way_back/);
    expect(driven.output).toMatchObject({ state: "failed", reason });
    expect(leaveOf(driven)).toMatchObject({ state: "failed", reason });
  });

  test.each(["superseded", "aborted"] as const)("leaves the hub as it is when %s in a ring", async (kind) => {
    const driven = await rollout({ watchStage: lookTimes(2, { kind, reason: "why" }) });
    expect(driven.output).toEqual({ hub: "main", state: kind, reason: "why" });
    expect(namesOf(driven)).not.toContain("startRollback");
    expect(leaveOf(driven)).toMatchObject({ state: kind, reason: "why" });
  });

  test.each(["superseded", "aborted"] as const)(
    "tells its release when it is %s but cannot leave the hub",
    async (kind) => {
      const driven = await rollout({
        watchStage: lookTimes(0, { kind, reason: "why" }),
        leaveRollout: () => fail("LEDGER_GONE"),
      });
      expect(driven.output).toMatchObject({
        state: "failed",
        reason: expect.stringMatching(/^why; then leaving the hub failed: .*ledger_gone/),
      });
    },
  );

  test.each(["superseded", "aborted"] as const)("deploys nothing when %s while it waits for the hub", async (kind) => {
    const driven = await rollout({ acquireHub: lookTimes(3, { kind, reason: "why" }) });
    expect(namesOf(driven)).toEqual([...Array<string>(4).fill("acquireHub"), "leaveRollout"]);
    expect(driven.elapsedMs).toBe(180_000);
    expect(driven.output).toMatchObject({ state: kind });
  });

  test("does not go back from what every ring has passed when completing fails", async () => {
    const driven = await rollout({ completeRollout: () => fail("CLEANUP_REFUSED") });
    expect(namesOf(driven)).not.toContain("startRollback");
    expect(driven.output).toMatchObject({
      state: "failed",
      reason: expect.stringMatching(/^all 3 rings run it, but completing failed: .*cleanup_refused/),
    });
  });
});

describe("a watch", () => {
  const watch = (script: Script): Promise<Driven> =>
    drive("watch", "w", { activity: "watchStage", arguments: { releaseId: RELEASE_ID, hub: "main", ring: 0 } }, script);

  test("continues as new after each look, so that its history stays short", async () => {
    const driven = await watch(scriptOf({ watchStage: lookTimes(200, { kind: "passed", reason: "fine" }) }));
    expect(driven.output).toEqual({ kind: "passed", reason: "fine" });
    const lengths = driven.histories.get("w") ?? [];
    expect(lengths).toHaveLength(201);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(12);
    expect(driven.elapsedMs).toBe(200 * 60_000);
  });

  test("hands each look the state of the last one, and keeps its arguments", async () => {
    const driven = await watch(scriptOf({ watchStage: lookTimes(2, { kind: "passed", reason: "fine" }) }));
    expect(driven.calls.map(({ input }) => [input["ring"], input["state"]])).toEqual([
      [0, undefined],
      [0, 1],
      [0, 2],
    ]);
  });

  test("looks at once when it is woken", async () => {
    let wakes = 2;
    const driven = await watch(
      scriptOf({ watchStage: lookTimes(3, { kind: "aborted", reason: "asked for" }) }, () =>
        wakes-- > 0 ? "wake" : undefined,
      ),
    );
    expect(driven.calls).toHaveLength(4);
    expect(driven.elapsedMs).toBe(60_000);
  });

  test("fails with the look that fails for good", async () => {
    const driven = await watch(scriptOf({ watchStage: () => fail("DEPLOYMENT_GONE") }));
    expect(driven).toMatchObject({ status: "Failed", output: expect.stringContaining("deployment_gone") });
  });
});

describe("the histories of the largest release", () => {
  test("stay bounded: 127 layers, three rings, a thousand looks", async () => {
    const driven = await release(
      { watchStage: lookTimes(300, { kind: "passed", reason: "fine" }) },
      goodAnswers(["main"], 127),
    );
    const longest = Object.fromEntries([...driven.histories].map(([id, lengths]) => [id, Math.max(...lengths)]));
    expect(driven.calls.filter(({ name }) => name === "watchStage")).toHaveLength(903);
    expect(longest).toEqual({
      [RELEASE_ID]: 543,
      [`${RELEASE_ID}.main`]: 31,
      [`${RELEASE_ID}.main.acquire`]: 7,
      [`${RELEASE_ID}.main.slots`]: 7,
      [`${RELEASE_ID}.main.0`]: 11,
      [`${RELEASE_ID}.main.1`]: 11,
      [`${RELEASE_ID}.main.2`]: 11,
    });
  });
});
