// Releases and their hubs over a life: what is over stays as it is, what died is taken over, what is unproven is no way back.
import { beforeEach, describe, expect, test } from "vitest";
import { createOperations, type Operations } from "../../src/activities/operations.ts";
import type { ActivityPorts } from "../../src/activities/ports.ts";
import { LighterError } from "../../src/core/errors.ts";
import type { Ledger } from "../../src/core/rollout/ledger.ts";
import type { ReleaseRecord } from "../../src/core/release/record.ts";
import type { RestoreState } from "../../src/core/rollout/restore.ts";
import { createCutter, createMemoryWorld, type World } from "../support/memory-world.ts";

const NOW = "2026-01-05T00:00:00.000Z";
const HUB = "main";

let world: World;
let operations: Operations;

beforeEach(() => {
  world = createMemoryWorld();
  operations = createOperations(world.ports);
});

async function open(tag: string, minutes = 0): Promise<string> {
  const at = new Date(Date.parse(NOW) + minutes * 60_000);
  const { releaseId = "" } = await world.intake.accept(world.eventOf(tag, await world.push(tag, `model ${tag}`)), at);
  return releaseId;
}

const step = (releaseId: string): { releaseId: string; now: string } => ({ releaseId, now: NOW });
const onHub = (releaseId: string): { releaseId: string; hub: string; now: string } => ({
  ...step(releaseId),
  hub: HUB,
});

async function recordOf(releaseId: string): Promise<ReleaseRecord | undefined> {
  return (await world.ports.stores.releases.get("detector", releaseId))?.value;
}

async function ledgerOf(): Promise<Ledger | undefined> {
  return (await world.ports.stores.ledgers.get("detector", HUB))?.value;
}

/** Takes a release through its first ring, to which it stays exposed. */
async function expose(releaseId: string): Promise<void> {
  await world.activities.takeWholeImage({ ...step(releaseId), reason: "nothing is known" });
  await world.activities.acquireHub(onHub(releaseId));
  await world.activities.assignSlots(onHub(releaseId));
  await world.activities.openRollout(onHub(releaseId));
  await world.activities.watchStage({ ...onHub(releaseId), ring: 0 });
}

describe("a release that is over", () => {
  test("never changes again, whatever is still under way", async () => {
    await operations.captureBaseline("detector", true);
    const releaseId = await open("1");
    await expose(releaseId);
    await world.activities.finishRelease({ ...step(releaseId), state: "aborted", reason: "enough" });
    const over = await recordOf(releaseId);
    expect(over).toMatchObject({ state: "aborted", finishedAt: NOW });

    const later = { ...onHub(releaseId), now: "2026-01-06T00:00:00.000Z" };
    expect(await world.activities.finishRelease({ ...later, state: "completed", reason: "no" })).toBe("aborted");
    expect(await world.activities.beginRelease(later)).toEqual({ proceed: false });
    await world.activities.openRollout(later);
    await world.activities.watchStage({ ...later, ring: 1 });
    await world.activities.leaveRollout({ ...later, state: "completed", reason: "no" });
    expect(await recordOf(releaseId)).toEqual(over);
    await expect(operations.command(releaseId, "abort", undefined, new Date())).rejects.toMatchObject({
      code: "RELEASE_OVER",
    });
  });
});

describe("a hub", () => {
  test("that a live release holds is waited for", async () => {
    const first = await open("1");
    await world.activities.acquireHub(onHub(first));
    const second = await open("2", 1);
    expect(await world.activities.acquireHub(onHub(second))).toMatchObject({ kind: "wait", waitMs: 60_000 });
    expect((await recordOf(second))?.rollouts[HUB]).toMatchObject({ waitsFor: `${first} to leave main` });
  });

  test("that a release held until it was over is taken over, and what it exposed is in doubt", async () => {
    await operations.captureBaseline("detector", true);
    const first = await open("1");
    await expose(first);
    await world.activities.finishRelease({ ...step(first), state: "failed", reason: "its ledger was out of reach" });
    const second = await open("2", 1);
    expect(await world.activities.acquireHub(onHub(second))).toMatchObject({ outcome: { kind: "acquired" } });
    expect(await ledgerOf()).toMatchObject({
      active: second,
      live: [{ id: `lighter-${first}`, state: "superseded" }],
    });
    await world.activities.takeWholeImage({ ...step(second), reason: "nothing is known" });
    await world.activities.openRollout(onHub(second));
    expect(await world.activities.startRollback({ ...onHub(second), reason: "bad" })).toEqual({ needed: true });
    expect((await recordOf(second))?.rollouts[HUB]?.rollback).toMatchObject({ slots: "00-04" });
  });

  test("learns of a completed release once, and a late repetition undoes nothing that came after", async () => {
    await operations.captureBaseline("detector", true);
    const first = await open("1");
    await expose(first);
    await world.activities.completeRollout(onHub(first));
    const second = await open("2", 1);
    await expose(second);
    await world.activities.completeRollout(onHub(second));
    const after = await ledgerOf();
    await world.activities.completeRollout(onHub(first));
    expect(await ledgerOf()).toEqual(after);
    expect(after?.anchor).toContain(":2@");
  });
});

describe("a stage that breaks while it is entered", () => {
  test("is known to a rollback wherever it was cut off", async () => {
    await operations.captureBaseline("detector", true);
    const releaseId = await open("1");
    await expose(releaseId);
    await world.activities.completeRollout(onHub(releaseId));
    const next = await open("2", 1);
    await world.activities.takeWholeImage({ ...step(next), reason: "as it is" });
    await world.activities.acquireHub(onHub(next));
    await world.activities.openRollout(onHub(next));
    const restore = world.save();
    const cutter = createCutter();
    world.gate = cutter.gate;
    await world.activities.watchStage({ ...onHub(next), ring: 0 });
    const calls = cutter.calls();

    const exposed: boolean[] = [];
    for (let after = 1; after <= calls; after++) {
      restore();
      world.gate = createCutter(after).gate;
      await expect(world.activities.watchStage({ ...onHub(next), ring: 0 })).rejects.toThrow(/^after/);
      world.gate = (_port, call) => call();
      const onTheHub = world.hub.held.has(`lighter-${next}`);
      const { needed } = await world.activities.startRollback({ ...onHub(next), reason: "it broke" });
      exposed.push(onTheHub);
      expect(needed || !onTheHub, `cut off after ${after} of ${calls}`).toBe(true);
      if (!needed) continue;
      const rollback = world.hub.held.get(`lighter-${next}-rollback`);
      expect(JSON.stringify(rollback?.content)).toContain("team/detector:1@");
      expect(rollback?.targetCondition).toMatch(/'00'.*'04'$/);
    }
    expect(new Set(exposed)).toEqual(new Set([true, false]));
  });
});

describe("a rollback whose twins contradict the metrics", () => {
  const bad = (releaseId: string): string => `lighter-${releaseId}`;
  let releaseId = "";
  let isBack = false;

  /** Looks every ten minutes until the rollback is over; tells what it waited for. */
  async function watchRollback(stopAfter = Infinity): Promise<{ complete?: boolean; waits: (string | undefined)[] }> {
    const waits: (string | undefined)[] = [];
    let state: RestoreState | undefined;
    for (let look = 0; look < stopAfter; look++) {
      const now = new Date(Date.parse(NOW) + look * 600_000).toISOString();
      const seen = await world.activities.watchRollback({ ...onHub(releaseId), now, ...(state && { state }) });
      if (seen.kind === "done") return { complete: seen.outcome.complete, waits };
      ({ state } = seen);
      waits.push((await recordOf(releaseId))?.rollouts[HUB]?.waitsFor);
    }
    return { waits };
  }

  beforeEach(async () => {
    await operations.captureBaseline("detector", true);
    releaseId = await open("1");
    await expose(releaseId);
    isBack = false;
    const { readModule } = world.hub.fleet;
    Object.assign(world.hub.fleet, {
      readModule: async (device: string, name: string) =>
        isBack ? readModule(device, name) : { image: "the bad one", runtimeStatus: "running" },
    });
    await world.activities.startRollback({ ...onHub(releaseId), reason: "it crashed" });
  });

  test("waits for them, and deletes the bad deployment only then", async () => {
    const { complete, waits } = await watchRollback(5);
    expect(complete).toBeUndefined();
    expect(waits.at(-1)).toMatch(/twins to show the previous content$/);
    expect(world.hub.held.has(bad(releaseId))).toBe(true);
    isBack = true;
    expect(await watchRollback()).toMatchObject({ complete: true });
    expect(world.hub.held.has(bad(releaseId))).toBe(false);
  });

  test("is incomplete when its time is over", async () => {
    expect(await watchRollback()).toMatchObject({ complete: false });
    expect((await recordOf(releaseId))?.rollouts[HUB]?.rollback).toMatchObject({
      state: "incomplete",
      verifiedTwins: 0,
    });
  });
});

describe("a baseline", () => {
  test("is not captured from what is being rolled out", async () => {
    await operations.captureBaseline("detector", true);
    const releaseId = await open("1");
    await expose(releaseId);
    await expect(operations.captureBaseline("detector", false)).rejects.toMatchObject({
      code: "ROLLOUT_ACTIVE",
      message: expect.stringContaining(releaseId),
    });
    expect((await ledgerOf())?.baseline).toEqual({ kind: "absent", from: "operator" });
  });

  test("is what the module runs today, with its image pinned as the anchor", async () => {
    await operations.captureBaseline("detector", true);
    const releaseId = await open("1");
    await expose(releaseId);
    await world.activities.completeRollout(onHub(releaseId));
    const [captured] = await operations.captureBaseline("detector", false);
    expect(captured).toMatchObject({ hub: HUB, baseline: { kind: "module", from: `lighter-${releaseId}` } });
    expect(captured?.anchor).toMatch(/^127\.0\.0\.1:5000\/team\/detector:1@sha256:/);
  });

  test("that is nowhere to be found must be said to be absent", async () => {
    await expect(operations.captureBaseline("detector", false)).rejects.toMatchObject({ code: "BASELINE_NOT_FOUND" });
    await expect(operations.captureBaseline("other", true)).rejects.toMatchObject({ code: "PRODUCT_UNKNOWN" });
  });

  test("is what a release asks for before anything else", async () => {
    const releaseId = await open("1");
    expect(await world.activities.beginRelease(step(releaseId))).toEqual({ proceed: false });
    expect(await recordOf(releaseId)).toMatchObject({ state: "refused", reason: expect.stringContaining("baseline") });
    expect(world.hub.held.size).toBe(0);
  });
});

describe("standing", () => {
  test.each(["UNREACHABLE", "UNAUTHORIZED", "DENIED", "NAME_UNKNOWN", "MANIFEST_UNKNOWN"])(
    "is not lost because the registry says %s",
    async (code) => {
      const releaseId = await open("1");
      world.gate = (port, call) =>
        port.startsWith("registry.")
          ? Promise.reject(new LighterError(code, { operation: "read manifest", subject: "1" }))
          : call();
      expect(await world.activities.checkStanding(step(releaseId))).toEqual({ kind: "current" });
    },
  );

  test("is lost to a newer push of the tag whose event was lost, once replicas no longer explain what they show", async () => {
    const releaseId = await open("1");
    await world.push("1", "another model");
    expect(await world.activities.checkStanding(step(releaseId))).toEqual({ kind: "current" });
    const later = { releaseId, now: new Date(Date.parse(NOW) + 600_000).toISOString() };
    expect(await world.activities.checkStanding(later)).toMatchObject({ kind: "superseded" });
  });

  test("is lost to the operator's word, and a rollback outranks an abort", async () => {
    const releaseId = await open("1");
    await operations.command(releaseId, "abort", "first thought", new Date(NOW));
    expect(await world.activities.checkStanding(step(releaseId))).toEqual({ kind: "aborted", reason: "first thought" });
    await operations.command(releaseId, "rollback", undefined, new Date(Date.parse(NOW) + 1));
    expect(await world.activities.checkStanding(step(releaseId))).toMatchObject({ kind: "rollback" });
  });
});

describe("the list of releases", () => {
  test("has the newest first, page by page, and tells the starts that were cut off", async () => {
    const ids: string[] = [];
    for (const tag of ["1", "2", "3"]) ids.unshift(await open(tag, Number(tag)));
    const first = await operations.list({ limit: 2 });
    const rest = await operations.list({ limit: 2, continuation: first.continuation ?? "" });
    expect([...first.releases, ...rest.releases].map(({ id }) => id)).toEqual(ids);
    expect(rest.continuation).toBeUndefined();
    await world.activities.finishRelease({ ...step(ids[0] ?? ""), state: "aborted", reason: "enough" });
    expect(await operations.listUnstarted()).toEqual(ids.slice(1));
  });
});

test("a world without its gate open refuses every port", async () => {
  const ports: ActivityPorts = world.ports;
  world.gate = (port) => Promise.reject(new Error(port));
  await expect(ports.stores.releases.get("p", "k")).rejects.toThrow("releases.get");
  await expect(ports.hub(HUB).fleet.countDevices("*")).rejects.toThrow("fleet.countDevices");
  await expect(ports.registries.open("r", "a").getManifest("1")).rejects.toThrow("registry.getManifest");
});
