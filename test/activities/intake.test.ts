// Trigger events into releases: one release per push, however often, however many at once, and wherever it is cut off.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Descriptor } from "../../src/core/image/descriptor.ts";
import type { ReleaseRecord } from "../../src/core/release/record.ts";
import type { TriggerEvent } from "../../src/core/release/trigger-event.ts";
import { count } from "../counts.ts";
import { createCutter, createMemoryWorld, CutOff, describeWorld, type World } from "../support/memory-world.ts";

const NOW = new Date("2026-01-05T00:00:00.000Z");
const later = (minutes: number): Date => new Date(NOW.getTime() + minutes * 60_000);

async function recordsOf(world: World): Promise<ReleaseRecord[]> {
  const { documents } = await world.ports.stores.releases.list("detector");
  return documents as ReleaseRecord[];
}

async function finish(world: World, releaseId: string, minutes: number): Promise<void> {
  await world.activities.finishRelease({
    releaseId,
    state: "completed",
    reason: "done",
    now: later(minutes).toISOString(),
  });
}

const headOf = async (world: World): Promise<unknown> =>
  (await world.ports.stores.productHeads.get("all", "detector"))?.value;

describe("a push", () => {
  test("ten times and after completion is one release, started once", async () => {
    const world = createMemoryWorld();
    const event = world.eventOf("2", await world.push("2", "two"));
    const outcomes: string[] = [];
    for (let i = 0; i < 10; i++) outcomes.push((await world.intake.accept(event, later(i))).outcome);
    expect(outcomes).toEqual(["opened", ...Array<string>(9).fill("existing")]);
    const [record] = await recordsOf(world);
    await finish(world, record?.id ?? "", 20);
    expect((await world.intake.accept(event, later(30))).outcome).toBe("existing");
    expect(await recordsOf(world)).toHaveLength(1);
    expect(world.started).toEqual([record?.id]);
  });

  test("of what the tag no longer points at is ignored", async () => {
    const world = createMemoryWorld();
    const old = await world.push("2", "two");
    await world.push("2", "newer two");
    expect(await world.intake.accept(world.eventOf("2", old), NOW)).toMatchObject({
      outcome: "ignored",
      reason: expect.stringContaining("now points at"),
    });
    expect(world.started).toEqual([]);
  });

  test("of a tag that does not exist, asked for by hand, is ignored with the reason", async () => {
    const world = createMemoryWorld();
    const event: TriggerEvent = { source: "manual", eventId: "m", repository: "team/detector", tag: "9" };
    expect(await world.intake.accept(event, NOW)).toEqual({
      outcome: "ignored",
      reason: "team/detector:9 does not exist in 127.0.0.1:5000",
    });
  });

  test("that moves a tag back opens a second attempt, once", async () => {
    const world = createMemoryWorld();
    const one = await world.push("latest", "one");
    const first = await world.intake.accept(world.eventOf("latest", one), NOW);
    await finish(world, first.releaseId ?? "", 1);
    const two = await world.push("latest", "two");
    const second = await world.intake.accept(world.eventOf("latest", two), later(2));
    await finish(world, second.releaseId ?? "", 3);
    await world.push("latest", "one");
    const outcomes = [];
    for (let i = 4; i < 7; i++) outcomes.push(await world.intake.accept(world.eventOf("latest", one), later(i)));
    const again = first.releaseId?.replace(/-1$/, "-2");
    expect(outcomes.map(({ outcome, releaseId }) => [outcome, releaseId])).toEqual([
      ["opened", again],
      ["existing", again],
      ["existing", again],
    ]);
    expect(world.started).toEqual([first.releaseId, second.releaseId, again]);
  });
});

/** Situations in which an event arrives. */
const SITUATIONS: readonly (readonly [string, (world: World) => Promise<TriggerEvent>, number])[] = [
  ["a first push", async (world) => world.eventOf("2", await world.push("2", "two")), 1],
  [
    "a push that says when",
    async (world) => world.eventOf("2", await world.push("2", "two"), { pushedAt: "2026-01-04T23:59:00.000Z" }),
    1,
  ],
  [
    "a push after another candidate",
    async (world) => {
      await world.intake.accept(world.eventOf("1", await world.push("1", "one")), NOW);
      return world.eventOf("2", await world.push("2", "two"));
    },
    2,
  ],
  [
    "a tag moved back",
    async (world) => {
      const one = await world.push("1", "one");
      const first = await world.intake.accept(world.eventOf("1", one), NOW);
      await finish(world, first.releaseId ?? "", 1);
      await world.intake.accept(world.eventOf("1", await world.push("1", "two")), later(2));
      await world.push("1", "one");
      return world.eventOf("1", one);
    },
    3,
  ],
  [
    "a rerun that was asked for",
    async (world) => {
      const one = await world.push("1", "one");
      const first = await world.intake.accept(world.eventOf("1", one), NOW);
      await finish(world, first.releaseId ?? "", 1);
      return world.eventOf("1", one, { source: "manual", rerun: true });
    },
    2,
  ],
];

describe("an intake that is cut off after any effect and repeated", () => {
  test.each(SITUATIONS)("ends as if it had not been: %s", async (_what, arrange, releases) => {
    const world = createMemoryWorld();
    const event = await arrange(world);
    const restore = world.save();
    const accept = (): Promise<{ outcome: string; releaseId?: string }> => world.intake.accept(event, later(10));
    const counter = createCutter();
    world.gate = counter.gate;
    const { releaseId } = await accept();
    const calls = counter.calls();
    world.gate = (_port, call) => call();
    const end = describeWorld(world);
    expect(world.started).toHaveLength(releases);
    expect(await recordsOf(world)).toHaveLength(releases);
    expect(world.stores.listings.rows.size).toBe(releases);
    expect(await headOf(world)).toMatchObject({ releaseId });

    expect(calls).toBeGreaterThan(8);
    for (let after = 1; after <= calls; after++) {
      restore();
      world.gate = createCutter(after).gate;
      await expect(accept()).rejects.toThrow(CutOff);
      world.gate = (_port, call) => call();
      expect((await accept()).releaseId).toBe(releaseId);
      expect(describeWorld(world), `cut off after ${after}`).toEqual(end);
    }
  });

  test("keeps the time under which it is known when it is repeated later", async () => {
    const world = createMemoryWorld();
    const event = world.eventOf("2", await world.push("2", "two"));
    const restore = world.save();
    for (let after = 1; ; after++) {
      restore();
      const cutter = createCutter(after);
      world.gate = cutter.gate;
      const died = await world.intake.accept(event, NOW).then(
        () => false,
        () => true,
      );
      world.gate = (_port, call) => call();
      if (!died) break;
      await world.intake.accept(event, later(5));
      const [record] = await recordsOf(world);
      expect(await headOf(world), `cut off after ${after}`).toEqual({
        releaseId: record?.id,
        pushedAt: record?.pushedAt,
      });
    }
  });
});

/** Runs a property over interleavings of all calls of the stores. */
async function interleave(
  body: (world: World) => Promise<{ race(): Promise<unknown>[]; check(): Promise<void> }>,
): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), async (scheduler) => {
      const world = createMemoryWorld();
      const { race, check } = await body(world);
      // The effect takes place at the moment that the schedule gives, its caller hears of it at another.
      world.gate = async (port, call) => {
        await scheduler.schedule(Promise.resolve(), port);
        return scheduler.schedule(call(), `${port} answers`);
      };
      const racing = Promise.all(race());
      await scheduler.waitFor(racing);
      world.gate = (_port, call) => call();
      await check();
    }),
    { numRuns: count("interleavings"), seed: 7 },
  );
}

describe("events at the same time", () => {
  test("of one push come to one release, started once", async () => {
    await interleave(async (world) => {
      const image = await world.push("2", "two");
      const outcomes: { outcome: string }[] = [];
      return {
        race: () =>
          Array.from({ length: 5 }, async (_event, index) => {
            const event = world.eventOf("2", image, { eventId: `e${index}` });
            outcomes.push(await world.intake.accept(event, later(index)));
          }),
        check: async () => {
          const records = await recordsOf(world);
          expect(records).toHaveLength(1);
          expect(world.started).toEqual([records[0]?.id]);
          expect(world.stores.listings.rows.size).toBe(1);
          expect(outcomes.filter(({ outcome }) => outcome === "opened")).toHaveLength(1);
        },
      };
    });
  });

  test("of two requests to release again come to one further attempt", async () => {
    await interleave(async (world) => {
      const image = await world.push("2", "two");
      const first = await world.intake.accept(world.eventOf("2", image), NOW);
      await finish(world, first.releaseId ?? "", 1);
      const event = world.eventOf("2", image, { source: "manual", rerun: true });
      return {
        race: () => [2, 3].map((minutes) => world.intake.accept(event, later(minutes))),
        check: async () => {
          expect((await recordsOf(world)).map(({ attempt }) => attempt)).toEqual([1, 2]);
          expect(world.started).toHaveLength(2);
        },
      };
    });
  });

  test("of several candidates leave the one that was pushed last as the newest, in whatever order they come", async () => {
    await interleave(async (world) => {
      const images: [string, Descriptor][] = [];
      for (const tag of ["1", "2", "3"]) images.push([tag, await world.push(tag, `model ${tag}`)]);
      return {
        race: () =>
          images.map(([tag, image]) =>
            world.intake.accept(world.eventOf(tag, image, { pushedAt: later(Number(tag)).toISOString() }), later(9)),
          ),
        check: async () => {
          const standings = await Promise.all(
            (await recordsOf(world)).map(async ({ id, tag }) => {
              const { kind } = await world.activities.checkStanding({ releaseId: id, now: later(10).toISOString() });
              return [tag, kind];
            }),
          );
          expect(Object.fromEntries(standings)).toEqual({ "1": "superseded", "2": "superseded", "3": "current" });
        },
      };
    });
  });
});

describe("releases at the same time", () => {
  const RELEASES = ["1", "2", "3", "4"];

  async function accepted(world: World): Promise<string[]> {
    const ids: string[] = [];
    for (const tag of RELEASES) {
      const { releaseId = "" } = await world.intake.accept(
        world.eventOf(tag, await world.push(tag, `model ${tag}`)),
        NOW,
      );
      ids.push(releaseId);
    }
    return ids;
  }

  test("get priorities that no other has, each above all that were given before", async () => {
    await interleave(async (world) => {
      const ids = await accepted(world);
      const given: number[] = [];
      return {
        race: () =>
          ids.map(async (releaseId) => {
            const before = Math.max(0, ...given);
            await world.activities.openRollout({ releaseId, hub: "main", now: NOW.toISOString() });
            const record = (await recordsOf(world)).find(({ id }) => id === releaseId);
            const { priority = 0 } = record?.rollouts["main"] ?? {};
            expect(priority).toBeGreaterThan(before);
            given.push(priority);
          }),
        check: async () => {
          const from = world.ports.config.hubs[0]?.priorities.from ?? 0;
          expect(given.toSorted((a, b) => a - b)).toEqual(RELEASES.map((_release, index) => from + index));
        },
      };
    });
  });

  test("hold a hub one at a time: acquired by one, free when it leaves, never by two", async () => {
    await interleave(async (world) => {
      const ids = await accepted(world);
      // All but the newest are superseded; what is tested here is the lock, so every one is taken for the newest.
      world.stores.productHeads.rows.clear();
      await world.ports.stores.ledgers.insert("detector", "main", { product: "detector", hub: "main", live: [] });
      const holders: string[] = [];
      let most = 0;
      let turns = 0;
      return {
        race: () =>
          ids.map(async (releaseId) => {
            const step = { releaseId, hub: "main", now: NOW.toISOString() };
            while ((await world.activities.acquireHub(step)).kind !== "done") continue;
            most = Math.max(most, holders.push(releaseId));
            turns++;
            await world.activities.checkStanding(step);
            holders.splice(holders.indexOf(releaseId), 1);
            await world.activities.leaveRollout({ ...step, state: "aborted", reason: "enough" });
          }),
        check: async () => {
          expect([most, turns]).toEqual([1, ids.length]);
          const ledger = (await world.ports.stores.ledgers.get("detector", "main"))?.value;
          expect(ledger).toBeDefined();
          expect(ledger?.active).toBeUndefined();
        },
      };
    });
  });
});
