// Registries and hubs that fail, lag and lose answers, people who meddle, and devices that are away.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CALM_BEHAVIOUR, createSeededBehaviour, type Behaviour } from "../../local/edge-device/accounted-behaviour.ts";
import type { AccountedFleet } from "../../local/edge-device/accounted-fleet.ts";
import type { PushableImage } from "../../local/demo/push-image.ts";
import { parseSlots, slotOf } from "../../src/core/rollout/slots.ts";
import { createHubOperator, type HubOperator } from "../support/hub-operator.ts";
import { createProductLine, type ProductLine } from "../support/product-line.ts";
import { createStackFixture, type StackFixture } from "../support/stack-fixture.ts";

const GATE = { successPercent: 80, failurePercent: 10, bakeMinutes: 10, timeoutMinutes: 1_440 };
const RINGS = [
  { name: "canary", slots: "00-19" },
  { name: "fleet", slots: "20-99" },
];
const RULES = { rings: RINGS, gate: GATE };
const canary = new Set(parseSlots("00-19"));
const isCanary = (deviceId: string): boolean => canary.has(slotOf(deviceId));

/** How many devices each product has. */
const DEVICES = 30;
const deviceOf = (product: string, index: number): string => `${product}-${index}`;

/** A stack whose products have a calm fleet each, but for devices that an image makes crash or go away. */
function useStack(
  products: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
  hub: Parameters<typeof createStackFixture>[0] extends infer O ? (O extends { hub?: infer H } ? H : never) : never,
): {
  fixture: () => StackFixture;
  fleet: (product: string) => AccountedFleet;
  operator: () => HubOperator;
  /** Says for an image which devices are off from the moment that they are told of it. */
  away: Map<string, (deviceId: string) => boolean>;
  crashing: Set<string>;
} {
  let fixture: StackFixture | undefined;
  const fleets = new Map<string, AccountedFleet>();
  let operator: HubOperator | undefined;
  const away = new Map<string, (deviceId: string) => boolean>();
  const crashing = new Set<string>();
  const calm = createSeededBehaviour({ seed: 1, table: CALM_BEHAVIOUR });
  const behaviour: Behaviour = {
    isOfflineForever: () => false,
    decide(traits) {
      const image = traits.image.split("@")[0] ?? "";
      const isAway = away.get(image)?.(traits.deviceId) ?? false;
      return {
        ...calm.decide(traits),
        offlineMs: isAway ? Infinity : 0,
        crashAfterMs: crashing.has(image) ? 5_000 : undefined,
      };
    },
  };
  const started = <T>(part: T | undefined): T => {
    if (part === undefined) throw new Error("the stack did not start");
    return part;
  };
  beforeAll(async () => {
    const withFleets = Object.entries(products).map(([name, rules]) => [
      name,
      { ...rules, targetCondition: `tags.fleet='${name}'` },
    ]);
    fixture = await createStackFixture({ products: Object.fromEntries(withFleets), hub });
    for (const name of Object.keys(products)) {
      const tagsOf = (): Readonly<Record<string, unknown>> => ({ fleet: name });
      fleets.set(name, fixture.addFleet(DEVICES, behaviour, { deviceId: (index) => deviceOf(name, index), tagsOf }));
    }
    operator = createHubOperator(fixture.stack.hub.connectionString);
  });
  afterAll(async () => {
    await fixture?.close();
  });
  return {
    fixture: () => started(fixture),
    fleet: (name) => started(fleets.get(name)),
    operator: () => started(operator),
    away,
    crashing,
  };
}

async function deliver(line: ProductLine, image: PushableImage): Promise<string> {
  await line.startFromNothing();
  await line.push(image, "1");
  const release = await line.finished("1");
  expect(release).toMatchObject({ state: "completed" });
  return release.image?.reference ?? "";
}

describe("a registry that fails", () => {
  const { fixture } = useStack({ corrupt: RULES, brief: RULES, gone: RULES, truncated: RULES }, {});
  const blobsOf = (line: ProductLine): string => `^/v2/${line.repository}/blobs/`;

  test.concurrent("with corrupt content fails the release with its cause, and no other", async () => {
    const line = createProductLine(fixture(), "corrupt");
    const held = await deliver(line, await fixture().build(10));
    const image = await fixture().build(11);
    const layer = image.blobs.at(-1)?.digest ?? "";
    const { faults } = fixture().stack.registry;
    faults.inject({
      match: { method: "GET", path: `${blobsOf(line)}${layer}` },
      times: 10_000,
      effect: { kind: "corrupt", offset: 100 },
    });
    await line.push(image, "2");
    const bad = await line.finished("2");
    expect(bad).toMatchObject({ state: "failed", anchor: held, reason: expect.stringContaining(`want ${layer}`) });
    expect(bad.rollouts).toEqual({});
    await line.push(await fixture().build(12), "3");
    expect(await line.finished("3")).toMatchObject({ state: "completed", anchor: held, image: { mode: "rebased" } });
  });

  test.concurrent("in the middle of a blob is asked again", async () => {
    const line = createProductLine(fixture(), "truncated");
    await deliver(line, await fixture().build(20));
    const asked = fixture().stack.registry.faults.inject({
      match: { method: "GET", path: blobsOf(line) },
      times: 6,
      effect: { kind: "truncate", afterBytes: 50 },
    });
    await line.push(await fixture().build(21), "2");
    expect(await line.finished("2")).toMatchObject({ state: "completed", image: { verified: "exact" } });
    expect(asked()).toBe(0);
  });

  test.concurrent("for a while is waited for", async () => {
    const line = createProductLine(fixture(), "brief");
    await deliver(line, await fixture().build(30));
    const { faults } = fixture().stack.registry;
    const asked = [
      faults.inject({ match: { method: "GET", path: blobsOf(line) }, times: 12, effect: { kind: "reset" } }),
      faults.inject({
        match: { method: "GET", path: blobsOf(line) },
        times: 24,
        effect: { kind: "status", status: 503 },
      }),
    ];
    await line.push(await fixture().build(31), "2");
    expect(await line.finished("2")).toMatchObject({ state: "completed", image: { mode: "rebased" } });
    expect(asked.map((left) => left())).toEqual([0, 0]);
  });

  test.concurrent("for good fails the release with its cause after half an hour", async () => {
    const line = createProductLine(fixture(), "gone");
    const held = await deliver(line, await fixture().build(40));
    fixture().stack.registry.faults.inject({
      match: { method: "GET", path: blobsOf(line) },
      times: 1_000_000,
      effect: { kind: "reset" },
    });
    await line.push(await fixture().build(41), "2");
    const bad = await line.finished("2");
    expect(bad).toMatchObject({ state: "failed", anchor: held, rollouts: {} });
    expect(bad.reason).toMatch(/^read blob .*ECONNRESET/);
    const waited = Date.parse(bad.finishedAt ?? "") - Date.parse(bad.acceptedAt);
    expect(waited).toBeGreaterThan(20 * 60_000);
  });
});

describe("a hub that fails and lags", () => {
  const SLOW = { rings: RINGS, gate: { ...GATE, timeoutMinutes: 2_880 } };
  const { fixture, operator, crashing } = useStack(
    { throttled: SLOW, unlucky: SLOW, meddled: SLOW },
    { unlimited: false, sku: "S1", queryLagMs: 45_000, metricsLagMs: 20_000 },
  );

  test("with 429, 5xx and lost answers delays a rollout on one S1 unit, and does not end it", async () => {
    const line = createProductLine(fixture(), "throttled");
    const { hub } = fixture().stack;
    for (const status of [429, 500, 503, 504] as const)
      hub.inject({ fault: { kind: "status", status }, times: 3, after: 2 });
    hub.inject({ fault: { kind: "reset" }, operation: "query", times: 2 });
    hub.inject({ fault: { kind: "lost" }, operation: "configurations.put", times: 2 });
    const image = await deliver(line, await fixture().build(50));
    hub.inject({ fault: { kind: "status", status: 429 }, times: 8, after: 4 });
    hub.inject({ fault: { kind: "lost" }, operation: "configurations.delete" });
    hub.inject({ fault: { kind: "lost" }, operation: "configurations.put", times: 2, after: 1 });
    await line.push(await fixture().build(51), "2");
    const release = await line.finished("2");
    expect(release).toMatchObject({ state: "completed", anchor: image });
    const own = (await operator().configurations()).filter(({ labels }) => labels?.["product"] === line.name);
    expect(new Set(own.map(({ id }) => id)).size).toBe(own.length);
    expect(own.map(({ id }) => id)).toContain(release.rollouts["main"]?.configurationId);
    hub.clearFaults();
  });

  test("still has crashes caught on the canary ring and taken back", async () => {
    const line = createProductLine(fixture(), "unlucky");
    const image = await deliver(line, await fixture().build(60));
    crashing.add(`${line.at}:iot-2`);
    const { hub } = fixture().stack;
    hub.inject({ fault: { kind: "lost" }, operation: "configurations.delete" });
    await line.push(await fixture().build(61), "2");
    const bad = await line.finished("2");
    expect(bad).toMatchObject({
      state: "rolled-back",
      rollouts: { main: { rollback: { state: "complete", to: image } } },
    });
    expect(bad.rollouts["main"]?.stages.map(({ ring }) => ring)).toEqual(["canary"]);
    const ids = (await operator().configurations()).map(({ id }) => id);
    expect(ids).not.toContain(bad.rollouts["main"]?.configurationId);
    hub.clearFaults();
  });

  test("where somebody deletes the deployment has the release rolled back, saying so", async () => {
    const line = createProductLine(fixture(), "meddled");
    const image = await deliver(line, await fixture().build(70));
    await line.push(await fixture().build(71), "2");
    const release = await line.inRing("2", 0);
    const id = release.rollouts["main"]?.configurationId ?? "";
    await fixture().until("the deployment", async () =>
      (await operator().configurations()).some((one) => one.id === id) ? true : undefined,
    );
    await operator().remove(id);
    const over = await line.finished("2");
    expect(over.state).toBe("rolled-back");
    expect(over.reason).toMatch(new RegExp(`${id}.*no such configuration.*somebody deleted it`));
    expect(over.rollouts["main"]?.rollback).toMatchObject({ to: image, state: "complete" });
  });
});

describe("devices that are away", () => {
  const timed = (onTimeout: "proceed" | "rollback"): Record<string, unknown> => ({
    rings: RINGS,
    gate: { ...GATE, successPercent: 95, timeoutMinutes: 120, onTimeout },
  });
  const taken = new Set(Array.from({ length: DEVICES }, (_device, index) => slotOf(deviceOf("sparse", index))));
  const empty = parseSlots("00-99").filter((slot) => !taken.has(slot));
  const { fixture, fleet, operator, away } = useStack(
    {
      patient: timed("proceed"),
      strict: timed("rollback"),
      silent: timed("proceed"),
      sparse: {
        rings: [
          { name: "nobody", slots: empty.join(",") },
          { name: "everybody", slots: [...taken].join(",") },
        ],
        gate: GATE,
      },
      joined: RULES,
    },
    {},
  );

  /** About a third of the canary ring. */
  const someCanaries = ({ name }: ProductLine): ((deviceId: string) => boolean) => {
    const canaries = fleet(name).deviceIds.filter(isCanary);
    const off = new Set(canaries.slice(0, Math.ceil(canaries.length / 3)));
    return (deviceId) => off.has(deviceId);
  };

  test.concurrent("are left behind after the timeout where the rule says proceed", async () => {
    const line = createProductLine(fixture(), "patient");
    const off = someCanaries(line);
    away.set(`${line.at}:1`, off);
    await line.startFromNothing();
    await line.push(await fixture().build(80), "1");
    const release = await line.finished("1");
    expect(release).toMatchObject({ state: "completed" });
    const [first] = release.rollouts["main"]?.stages ?? [];
    expect(first).toMatchObject({
      state: "passed",
      reason: expect.stringMatching(/did not report within 120 minutes; those are left behind/),
    });
    const agents = await operator().agents(fleet(line.name).deviceIds, line.name);
    for (const [deviceId, { status }] of agents) expect(status).toBe(off(deviceId) ? undefined : "running");
  });

  test.concurrent("end the release after the timeout where the rule says rollback", async () => {
    const line = createProductLine(fixture(), "strict");
    const image = await deliver(line, await fixture().build(90));
    away.set(`${line.at}:iot-2`, someCanaries(line));
    await line.push(await fixture().build(91), "2");
    const release = await line.finished("2");
    expect(release).toMatchObject({
      state: "rolled-back",
      reason: expect.stringMatching(/canary: \d+ devices run it, 0 failed, \d+ did not report within 120 minutes/),
    });
    expect(release.rollouts["main"]?.rollback).toMatchObject({ to: image });
  });

  test.concurrent("all of them, are no success whatever the rule", async () => {
    const line = createProductLine(fixture(), "silent");
    await line.startFromNothing();
    away.set(`${line.at}:1`, () => true);
    await line.push(await fixture().build(100), "1");
    expect(await line.finished("1")).toMatchObject({
      state: "rolled-back",
      reason: expect.stringMatching(/canary: 0 devices run it/),
    });
  });

  test.concurrent("from a whole ring do not hold up the next", async () => {
    const line = createProductLine(fixture(), "sparse");
    await line.startFromNothing();
    await line.push(await fixture().build(110), "1");
    const release = await line.finished("1");
    expect(release).toMatchObject({ state: "completed" });
    expect(release.rollouts["main"]?.stages[0]).toMatchObject({ state: "passed", reason: "no device is in this ring" });
  });

  test.concurrent("and join during a rollout get their slot and the release", async () => {
    const line = createProductLine(fixture(), "joined");
    await line.startFromNothing();
    await line.push(await fixture().build(120), "1");
    await line.inRing("1", 0);
    // An identity that is in the first ring: it is exposed with the next.
    const late = Array.from({ length: 1_000 }, (_device, index) => `late-${index}`)
      .filter(isCanary)
      .slice(0, 2);
    fixture().addFleet(late.length, CALM_BEHAVIOUR, {
      deviceId: (index) => late[index] ?? "",
      tagsOf: () => ({ fleet: line.name }),
    });
    const release = await line.finished("1");
    expect(release).toMatchObject({ state: "completed" });
    await fixture().until("the late devices", async () => {
      const agents = await operator().agents(late, line.name);
      return [...agents.values()].every(
        ({ image, status }) => image === release.image?.reference && status === "running",
      )
        ? true
        : undefined;
    });
  });
});
