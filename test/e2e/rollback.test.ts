// Releases whose module crashes are caught by a gate and taken back, whatever the hub makes of removed deployments.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CALM_BEHAVIOUR, createSeededBehaviour, type Behaviour } from "../../local/edge-device/accounted-behaviour.ts";
import type { AccountedFleet } from "../../local/edge-device/accounted-fleet.ts";
import type { ReleaseView } from "../../src/core/release/view.ts";
import { parseSlots, slotOf } from "../../src/core/rollout/slots.ts";
import { createHubOperator, type HubOperator } from "../support/hub-operator.ts";
import { createProductLine, type ProductLine } from "../support/product-line.ts";
import { createStackFixture, type StackFixture } from "../support/stack-fixture.ts";

const RINGS = [
  { name: "canary", slots: "00-09" },
  { name: "early", slots: "10-39" },
  { name: "fleet", slots: "40-99" },
];
const GATE = { successPercent: 90, failurePercent: 10, bakeMinutes: 10, timeoutMinutes: 1_440 };
const RULES = { rings: RINGS, gate: GATE };
const CALM = createSeededBehaviour({ seed: 1, table: CALM_BEHAVIOUR });

/** Images that crash, and the first ring in which they do. */
type Crashes = Map<string, number>;

/** Devices whose modules run well but for the images in `crashes`. */
const crashingBy = (crashes: Crashes): Behaviour => ({
  isOfflineForever: () => false,
  decide(traits) {
    const ring = crashes.get(traits.image.split("@")[0] ?? "") ?? Infinity;
    const crash = ringOf(traits.deviceId) >= ring;
    return { ...CALM.decide(traits), crashAfterMs: crash ? 5_000 : undefined };
  },
});

const ringOf = (deviceId: string): number =>
  RINGS.findIndex(({ slots }) => parseSlots(slots).includes(slotOf(deviceId)));

const devicesIn = (fleet: AccountedFleet, ...rings: number[]): string[] =>
  fleet.deviceIds.filter((deviceId) => rings.includes(ringOf(deviceId)));

const rollbackOf = (release: ReleaseView): NonNullable<ReleaseView["rollouts"][string]["rollback"]> => {
  const { rollback } = release.rollouts["main"] ?? {};
  if (rollback === undefined) throw new Error(`${release.id} was not rolled back: ${release.reason}`);
  return rollback;
};

describe.each(["remove", "keep"] as const)("on a hub that would %s modules of deleted deployments", (removal) => {
  let fixture: StackFixture;
  let fleet: AccountedFleet;
  let operator: HubOperator;
  const crashes: Crashes = new Map();

  beforeAll(async () => {
    fixture = await createStackFixture({
      hub: { layeredRemoval: removal },
      products: { canary: RULES, first: RULES, early: RULES, late: RULES },
    });
    fleet = fixture.addFleet(100, crashingBy(crashes));
    operator = createHubOperator(fixture.stack.hub.connectionString);
  });

  afterAll(async () => {
    await fixture?.close();
  });

  /** Rolls a first version out to everybody. */
  async function deliver(line: ProductLine, version: number): Promise<ReleaseView> {
    await line.startFromNothing();
    await line.push(await fixture.build(version), "1");
    const release = await line.finished("1");
    expect(release).toMatchObject({ state: "completed" });
    return release;
  }

  test.concurrent("a crash on the canary ring leaves the rest of the fleet as it was", async () => {
    const line = createProductLine(fixture, "canary");
    const first = await deliver(line, 10);
    const image = first.image?.reference;
    const beyond = devicesIn(fleet, 1, 2);

    crashes.set(`${line.at}:iot-2`, 0);
    await line.push(await fixture.build(11), "2");
    const bad = await line.finished("2");
    expect(bad).toMatchObject({
      state: "rolled-back",
      reason: expect.stringMatching(/canary: \d+ of \d+ devices failed/),
    });
    expect(bad.rollouts["main"]?.stages.map(({ ring, state }) => [ring, state])).toEqual([["canary", "failed"]]);

    const badImage = bad.image?.reference ?? "";
    const told = await operator.agents(beyond, line.name);
    expect([...told.values()].map(({ desiredImage, status }) => [desiredImage, status])).toEqual(
      beyond.map(() => [image, "running"]),
    );
    const { modulesByImage, bytesByImage } = fleet.totals();
    expect(modulesByImage[badImage]).toBeUndefined();
    const exposed = devicesIn(fleet, 0).length;
    expect(bytesByImage[badImage]).toBe((bad.sizes?.updateBytes ?? 0) * exposed);

    const rollback = rollbackOf(bad);
    expect(rollback).toMatchObject({
      state: "complete",
      to: image,
      slots: "00-09",
      expected: exposed,
      restored: exposed,
    });
    expect(rollback.verifiedTwins).toBe(Math.min(10, exposed));
    const configurations = await operator.configurations();
    expect(configurations.find(({ id }) => id === bad.rollouts["main"]?.configurationId)).toBeUndefined();
    const way = configurations.find(({ id }) => id === rollback.configurationId);
    expect(way?.priority).toBeGreaterThan(bad.rollouts["main"]?.priority ?? Infinity);
    expect(JSON.stringify(way?.content)).toContain(image);

    await line.push(await fixture.build(12), "3");
    const good = await line.finished("3");
    expect(good).toMatchObject({ state: "completed", anchor: image });
    const after = await operator.agents(fleet.deviceIds, line.name);
    expect(new Set([...after.values()].map((agent) => `${agent.image} ${agent.status}`))).toEqual(
      new Set([`${good.image?.reference} running`]),
    );
  });

  test.concurrent("a crash of the very first release stops it where it was started", async () => {
    const line = createProductLine(fixture, "first");
    await line.startFromNothing();
    crashes.set(`${line.at}:1`, 0);
    await line.push(await fixture.build(20), "1");
    const bad = await line.finished("1");
    expect(bad).toMatchObject({ state: "rolled-back" });
    expect(rollbackOf(bad)).toMatchObject({ state: "complete", to: "no module (stopped)" });
    const canary = await operator.agents(devicesIn(fleet, 0), line.name);
    for (const { status } of canary.values()) expect(["stopped", "failed", "dead"]).toContain(status);
    const beyond = await operator.agents(devicesIn(fleet, 1, 2), line.name);
    expect([...beyond.values()].every(({ desiredImage }) => desiredImage === undefined)).toBe(true);

    await line.push(await fixture.build(21), "2");
    expect(await line.finished("2")).toMatchObject({ state: "completed", image: { mode: "full" } });
  });

  test.concurrent.each([
    { name: "early", ring: 1, slots: "00-39" },
    { name: "late", ring: 2, slots: "00-99" },
  ])("a crash in ring $ring is rolled back in every ring that was exposed", async ({ name, ring, slots }) => {
    const line = createProductLine(fixture, name);
    const image = (await deliver(line, 30 + ring * 10)).image?.reference;
    crashes.set(`${line.at}:iot-2`, ring);
    await line.push(await fixture.build(31 + ring * 10), "2");
    const bad = await line.finished("2");
    expect(bad).toMatchObject({ state: "rolled-back", reason: expect.stringContaining(RINGS[ring]?.name ?? "?") });
    expect(rollbackOf(bad)).toMatchObject({ state: "complete", slots, to: image });
    const agents = await operator.agents(fleet.deviceIds, line.name);
    expect(new Set([...agents.values()].map((agent) => `${agent.image} ${agent.status}`))).toEqual(
      new Set([`${image} running`]),
    );
  });
});
