// Every activity run twice, twice at once, or cut off after any of its effects and repeated: the same end every time.
import { beforeAll, describe, expect, test } from "vitest";
import type { Activities } from "../../src/activities/index.ts";
import type { Look } from "../../src/activities/hub-book.ts";
import type { Preparation } from "../../src/activities/preparation.ts";
import type { LayerTask } from "../../src/ports/rebase-engine.ts";
import { createCutter, createMemoryWorld, CutOff, describeWorld, type World } from "../support/memory-world.ts";

const START_MS = Date.UTC(2026, 0, 5);

/** One place in the life of a product where an activity was tried in every way. */
interface Trial {
  readonly activity: keyof Activities;
  readonly place: string;
  readonly cuts: number;
  /** Ways of repeating it that ended differently, with what differed. */
  readonly differences: readonly string[];
}

type Act = <Name extends keyof Activities>(
  name: Name,
  input: Omit<Parameters<Activities[Name]>[0], "now">,
) => ReturnType<Activities[Name]>;

/** What an activity returns, but for what only tells how much this very run did. */
const essence = (result: unknown): string =>
  JSON.stringify(result, (key, value: unknown) => (key === "cached" || key === "assigned" ? undefined : value)) ?? "";

function createTrials(world: World): { act: Act; trials: Trial[]; wait(minutes: number): void } {
  const trials: Trial[] = [];
  let nowMs = START_MS;

  const act = async (name: keyof Activities, input: object): Promise<unknown> => {
    const step = { ...input, now: new Date(nowMs).toISOString() };
    const run = (): Promise<unknown> => (world.activities[name] as (given: unknown) => Promise<unknown>)(step);
    const differences: string[] = [];
    const restore = world.save();

    const counter = createCutter();
    world.gate = counter.gate;
    const expected = essence(await run());
    world.gate = (_port, call) => call();
    const end = JSON.stringify(describeWorld(world));
    const compare = (how: string, result: unknown): void => {
      if (essence(result) !== expected) differences.push(`${how}: returned ${essence(result)}, want ${expected}`);
      const other = JSON.stringify(describeWorld(world));
      const at = other.split("").findIndex((character, index) => character !== end[index]);
      if (other !== end)
        differences.push(`${how}: …${other.slice(at - 200, at + 100)}, want …${end.slice(at - 200, at + 100)}`);
    };

    compare("twice", await run());
    restore();
    for (const ran of await Promise.allSettled([run(), run()])) {
      compare("twice at once", ran.status === "fulfilled" ? ran.value : String(ran.reason));
    }
    for (let after = 1; after <= counter.calls(); after++) {
      restore();
      world.gate = createCutter(after).gate;
      const died: unknown = await run().then(
        () => undefined,
        (error: unknown) => error,
      );
      world.gate = (_port, call) => call();
      if (!(died instanceof CutOff)) differences.push(`cut off after ${after}: did not die but ${String(died)}`);
      compare(`repeated after ${String(died)}`, await run());
    }

    restore();
    const place = `${JSON.stringify(input).slice(0, 120)} at ${step.now}`;
    trials.push({ activity: name, place, cuts: counter.calls(), differences });
    return run();
  };
  return { act: act as Act, trials, wait: (minutes) => void (nowMs += minutes * 60_000) };
}

/** Three releases: whole, rebased, crashing and rolled back; then one that is aborted in its first ring, and two more. */
async function live(world: World, act: Act, wait: (minutes: number) => void): Promise<Record<string, string>> {
  const hub = "main";
  const ends: Record<string, string> = {};
  world.hub.health = (image) => (image.includes(":iot-3@") ? "failed" : "running");
  await world.ports.stores.ledgers.insert("detector", hub, {
    product: "detector",
    hub,
    baseline: { kind: "absent", from: "operator" },
    live: [],
  });

  async function watch<Outcome>(look: (state: never) => Promise<Look<unknown, Outcome>>): Promise<Outcome> {
    let state: unknown;
    for (let looks = 0; looks < 50; looks++) {
      const seen = await look(state as never);
      if (seen.kind === "done") return seen.outcome;
      state = seen.state;
      wait(10);
    }
    throw new Error("a watch did not end");
  }

  async function runElsewhere(releaseId: string, anchor: string): Promise<Preparation> {
    const outcome = await watch((state) =>
      act("watchRun", { releaseId, anchor, ...(state === undefined ? {} : { state }) }),
    );
    if (outcome.kind !== "prepared") throw new Error(outcome.reason);
    return outcome.prepared;
  }

  for (const version of ["1", "2", "3", "4", "5", "6"]) {
    wait(60);
    const image = await world.push(version, `model ${version}`.padEnd(20 + Number(version)));
    const accepted = await world.intake.accept(
      world.eventOf(version, image),
      new Date(START_MS + Number(version) * 3_600_000),
    );
    const releaseId = accepted.releaseId ?? "";
    const begun = await act("beginRelease", { releaseId });
    if (!begun.proceed) throw new Error(`${releaseId} did not begin`);
    await act("checkStanding", { releaseId });
    const { anchor } = begun;
    if (anchor === undefined) {
      await act("takeWholeImage", { releaseId, reason: "nothing is known" });
    } else {
      const { layers } = await act("compareImages", { releaseId, anchor });
      for (const layer of layers) await act("indexLayer", layer as Omit<LayerTask, "now">);
      await act("planRelease", { releaseId, anchor });
      if (version === "2") {
        const held = await act("watchHold", { releaseId, reason: "drift of class dependencies" });
        expect([held.kind, (await world.ports.stores.releases.get("detector", releaseId))?.value.state]).toEqual([
          "wait",
          "held",
        ]);
        await world.ports.stores.commands.insert(releaseId, "1", { kind: "approve", at: "2026-01-05" });
        const outcome = await watch(() => act("watchHold", { releaseId, reason: "drift of class dependencies" }));
        expect(outcome).toEqual({ kind: "approved", reason: "approved at 2026-01-05" });
      }
      const prepared =
        version === "5" ? await runElsewhere(releaseId, anchor) : await act("rebaseImage", { releaseId, anchor });
      if (prepared.kind !== "deploy") throw new Error(prepared.reason);
      await act("verifyImage", { releaseId, anchor, image: prepared.image });
    }
    await watch(() => act("acquireHub", { releaseId, hub }));
    await watch((state) => act("assignSlots", { releaseId, hub, ...(state === undefined ? {} : { state }) }));
    await act("openRollout", { releaseId, hub });
    let outcome = "passed";
    for (let ring = 0; ring < 3 && outcome === "passed"; ring++) {
      if (version === "4" && ring === 1) {
        await world.ports.stores.commands.insert(releaseId, "1", { kind: "abort", at: "2026-01-05", reason: "enough" });
      }
      const { kind } = await watch((state) =>
        act("watchStage", { releaseId, hub, ring, ...(state === undefined ? {} : { state }) }),
      );
      outcome = kind;
    }
    if (outcome === "failed") {
      await act("startRollback", { releaseId, hub, reason: "it crashed" });
      await watch((state) => act("watchRollback", { releaseId, hub, ...(state === undefined ? {} : { state }) }));
    } else if (outcome === "passed") {
      await act("completeRollout", { releaseId, hub });
    } else {
      await act("leaveRollout", { releaseId, hub, state: "aborted", reason: "enough" });
    }
    const state = outcome === "failed" ? "rolled-back" : outcome === "passed" ? "completed" : "aborted";
    ends[version] = await act("finishRelease", { releaseId, state, reason: "done" });
  }
  return ends;
}

const world = createMemoryWorld();
const { act, trials, wait } = createTrials(world);
let ends: Record<string, string> = {};

beforeAll(async () => {
  ends = await live(world, act, wait);
});

describe("the life in which activities are tried", () => {
  test("ends every release as it should", () => {
    expect(ends).toEqual({
      "1": "completed",
      "2": "completed",
      "3": "rolled-back",
      "4": "aborted",
      "5": "completed",
      "6": "completed",
    });
  });

  test("leaves on the hub what the fleet needs, and what lies below it", () => {
    const ids = [...world.hub.held.keys()];
    expect(ids).toHaveLength(2);
    const top = [...world.hub.held.values()].toSorted((a, b) => b.priority - a.priority)[0];
    expect(JSON.stringify(top?.content)).toContain("team/detector:iot-6@");
  });

  test("is cut off in several hundred places", () => {
    expect(trials.reduce((sum, { cuts }) => sum + cuts, 0)).toBeGreaterThan(500);
  });
});

const ACTIVITIES = Object.keys(world.activities) as (keyof Activities)[];

test("slots that are given in pieces come out the same however often a piece is cut off", async () => {
  const give = async (cutAfter: number, slotsPerCall: number): Promise<unknown> => {
    const pieces = createMemoryWorld(slotsPerCall);
    const { releaseId = "" } = await pieces.intake.accept(pieces.eventOf("1", await pieces.push("1", "m")), new Date());
    const step = { releaseId, hub: "main", now: new Date(START_MS).toISOString() };
    let looks = 0;
    for (;;) {
      pieces.gate = createCutter(cutAfter).gate;
      await pieces.activities.assignSlots(step).catch((error: unknown) => expect(error).toBeInstanceOf(CutOff));
      pieces.gate = (_port, call) => call();
      if ((await pieces.activities.assignSlots(step)).kind === "done") break;
      if (++looks > 20) throw new Error("slots were never all given");
    }
    return [...pieces.hub.devices];
  };
  const whole = await give(Infinity, 1_000);
  expect(JSON.stringify(whole)).not.toContain("{}");
  for (let after = 1; after < 8; after++) expect(await give(after, 7)).toEqual(whole);
});

describe("an activity that is repeated ends the same", () => {
  test.each(ACTIVITIES)("%s", (name) => {
    const own = trials.filter(({ activity }) => activity === name);
    expect(own.length).toBeGreaterThan(0);
    expect(Math.min(...own.map(({ cuts }) => cuts))).toBeGreaterThan(0);
    const different = own.flatMap(({ place, differences }) => differences.map((how) => `${place}: ${how}`));
    expect(different.slice(0, 5)).toEqual([]);
  });
});
