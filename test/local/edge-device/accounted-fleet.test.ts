// Accounted fleets: exact bytes, seeded trouble, the same states as a real device, and room for 100,000 in one process.
import { describe, expect, test } from "vitest";
import type { SteppedClock } from "../../../local/clock.ts";
import { createSteppedClock } from "../../../local/clock.ts";
import type { BehaviourTable } from "../../../local/edge-device/accounted-behaviour.ts";
import {
  CALM_BEHAVIOUR,
  DEFAULT_BEHAVIOUR,
  createSeededBehaviour,
} from "../../../local/edge-device/accounted-behaviour.ts";
import type { AccountedFleet, AccountedFleetOptions } from "../../../local/edge-device/accounted-fleet.ts";
import { createAccountedFleet } from "../../../local/edge-device/accounted-fleet.ts";
import { TRANSITIONS } from "../../../local/edge-device/module-lifecycle.ts";
import type { RuntimeStatus } from "../../../local/edge-device/module-lifecycle.ts";
import type { AccountedLayer } from "../../../local/edge-device/layer-sets.ts";
import type { DesiredProperties, DeviceGateway, DeviceHandlers } from "../../../local/iot-hub/device-gateway.ts";

const START = Date.UTC(2026, 10, 20);
const V1 = `registry/app:1@sha256:${"1".repeat(64)}`;
const V2 = `registry/app:2@sha256:${"2".repeat(64)}`;
const LAYERS: Readonly<Record<string, readonly AccountedLayer[]>> = {
  [V1]: [
    { digest: "base", size: 1_000_000 },
    { digest: "model-1", size: 2_000 },
    { digest: "manifest-1", size: 500 },
  ],
  [V2]: [
    { digest: "base", size: 1_000_000 },
    { digest: "model-1", size: 2_000 },
    { digest: "delta", size: 3_000 },
    { digest: "manifest-2", size: 600 },
  ],
};

/** A gateway that keeps per device only what the tests look at. */
interface LeanGateway extends DeviceGateway {
  /** The same desired object for every device that `chosen` accepts. */
  desire(content: Readonly<Record<string, unknown>>, chosen?: (deviceId: string) => boolean): void;
  readonly seen: ReadonlyMap<string, Seen>;
  reports: number;
}
interface Seen {
  code: number;
  version: number;
  status: RuntimeStatus | "";
  image: string;
  history: string[];
}

function createLeanGateway(keepHistory = false): LeanGateway {
  const seen = new Map<string, Seen>();
  const handlers = new Map<string, DeviceHandlers>();
  const desired = new Map<string, DesiredProperties>();
  let version = 1;
  const empty: DesiredProperties = { $version: 1 };
  const gateway: LeanGateway = {
    seen,
    reports: 0,
    register(deviceId) {
      seen.set(deviceId, { code: 0, version: 0, status: "", image: "", history: [] });
      desired.set(deviceId, empty);
    },
    connect(deviceId, given) {
      handlers.set(deviceId, given);
      given.desired(desired.get(deviceId) as DesiredProperties);
      return {
        report(_module, patch) {
          gateway.reports++;
          note(seen.get(deviceId) as Seen, patch, keepHistory);
        },
        disconnect: () => handlers.delete(deviceId),
      };
    },
    desire(content, chosen = () => true) {
      version++;
      const shared: DesiredProperties = { ...content, $version: version };
      for (const deviceId of seen.keys()) {
        if (!chosen(deviceId)) continue;
        desired.set(deviceId, shared);
        handlers.get(deviceId)?.desired(shared);
      }
    },
  };
  return gateway;
}

function note(seen: Seen, patch: Readonly<Record<string, unknown>>, keepHistory: boolean): void {
  const { lastDesiredStatus, lastDesiredVersion, modules } = patch as {
    lastDesiredStatus: { code: number };
    lastDesiredVersion: number;
    modules?: Record<string, { runtimeStatus: RuntimeStatus; settings: { image: string } } | null>;
  };
  seen.code = lastDesiredStatus.code;
  seen.version = lastDesiredVersion;
  const module = modules?.["m"];
  if (module !== undefined) {
    seen.status = module?.runtimeStatus ?? "";
    seen.image = module?.settings.image ?? "";
  }
  if (keepHistory) seen.history.push(`${seen.code} ${seen.status}`);
}

function deploy(image: string): Record<string, unknown> {
  const module = { type: "docker", status: "running", restartPolicy: "always", version: "1", settings: { image } };
  return { schemaVersion: "1.1", modules: { m: module } };
}

function startFleet(
  gateway: DeviceGateway,
  clock: SteppedClock,
  change: Partial<AccountedFleetOptions>,
): AccountedFleet {
  const layersOf = (image: string): readonly AccountedLayer[] => LAYERS[image] ?? [];
  return createAccountedFleet({ gateway, clock, seed: 1, count: 10, layersOf, behaviour: CALM_BEHAVIOUR, ...change });
}

/** Lets time pass until the fleet has nothing left to do, at most `limitMs`. */
async function rest(fleet: AccountedFleet, clock: SteppedClock, limitMs = 10 * 86_400_000): Promise<void> {
  for (let passed = 0; fleet.pending > 0 && passed < limitMs; passed += 600_000) await clock.advance(600_000);
  expect(fleet.pending).toBe(0);
}

const withTable = (change: Partial<BehaviourTable>): BehaviourTable => ({ ...CALM_BEHAVIOUR, ...change });

describe("an accounted device", () => {
  test("reports pending, then done and running, and counts only missing layers", async () => {
    const [gateway, clock] = [createLeanGateway(true), createSteppedClock(START)];
    const fleet = startFleet(gateway, clock, { count: 1 });
    gateway.desire(deploy(V1));
    await rest(fleet, clock);
    expect(gateway.seen.get("device-000000")?.history).toEqual(["417 ", "500 ", "200 running"]);
    expect(fleet.totals().bytesPulled).toBe(1_002_500);
    gateway.desire(deploy(V2));
    await rest(fleet, clock);
    gateway.desire(deploy(V1));
    await rest(fleet, clock);
    expect(fleet.totals()).toMatchObject({
      bytesByImage: { [V1]: 1_002_500, [V2]: 3_600 },
      modulesByImage: { [V1]: { running: 1 } },
      pulls: 3,
    });
    fleet.close();
  });

  test("takes as long as its link needs", async () => {
    const [gateway, clock] = [createLeanGateway(), createSteppedClock(START)];
    const slowLink = { rate: 1, bytesPerSecond: 1_000 };
    const fleet = startFleet(gateway, clock, { count: 1, behaviour: withTable({ slowLink, startMs: 0 }) });
    gateway.desire(deploy(V1));
    await clock.advance(1_002_000);
    expect(gateway.seen.get("device-000000")?.code).toBe(500);
    await clock.advance(1_000);
    expect(gateway.seen.get("device-000000")?.code).toBe(200);
    fleet.close();
  });

  test("whose pull fails retries after 10 s·2ⁿ, and gives up after 20 times when it never works", async () => {
    const [gateway, clock] = [createLeanGateway(true), createSteppedClock(START)];
    const failingPull = { rate: 1, attempts: 3 };
    const fleet = startFleet(gateway, clock, { count: 1, behaviour: withTable({ failingPull, startMs: 0 }) });
    gateway.desire(deploy(V1));
    await clock.advance(73_000);
    expect(gateway.seen.get("device-000000")?.code).toBe(500);
    await clock.advance(20_000);
    expect(gateway.seen.get("device-000000")).toMatchObject({ code: 200, status: "running" });
    expect(fleet.totals()).toMatchObject({ failedPulls: 3, pulls: 1, bytesPulled: 1_002_500 });
    fleet.changeImage(V2.split("@")[1] as string, { failingPull: { rate: 1, attempts: Number.POSITIVE_INFINITY } });
    gateway.desire(deploy(V2));
    await clock.advance(10_000 * 2 ** 21);
    expect(fleet.totals()).toMatchObject({
      failedPulls: 24,
      modulesByImage: { [V1]: { running: 1 } },
      devicesByCode: { 500: 1 },
    });
    expect(fleet.pending).toBe(0);
    fleet.close();
  });

  test("in a crash loop backs off and fails in the end, and recovers by the previous image", async () => {
    const [gateway, clock] = [createLeanGateway(true), createSteppedClock(START)];
    const fleet = startFleet(gateway, clock, { count: 1 });
    fleet.changeImage(V2.split("@")[0] as string, { crashLoop: { rate: 1, afterMs: 5_000 } });
    gateway.desire(deploy(V1));
    await rest(fleet, clock);
    gateway.desire(deploy(V2));
    await clock.advance(60_000);
    const seen = gateway.seen.get("device-000000");
    expect(seen?.history.slice(3, 8)).toEqual([
      "500 running",
      "200 running",
      "200 backoff",
      "200 running",
      "200 backoff",
    ]);
    await rest(fleet, clock);
    expect(seen).toMatchObject({ code: 200, status: "failed", image: V2 });
    gateway.desire(deploy(V1));
    await rest(fleet, clock);
    expect(seen).toMatchObject({ code: 200, status: "running", image: V1 });
    fleet.close();
  });

  test("away for a while takes the newest image when it is back; away for ever never answers", async () => {
    const [gateway, clock] = [createLeanGateway(), createSteppedClock(START)];
    const offline = { rate: 1, minMs: 3_600_000, maxMs: 3_600_000 };
    const fleet = startFleet(gateway, clock, { count: 5 });
    fleet.changeImage(V2.split("@")[1] as string, { offline });
    gateway.desire(deploy(V1));
    await rest(fleet, clock, 600_000);
    gateway.desire(deploy(V2));
    await clock.advance(600_000);
    expect(fleet.totals()).toMatchObject({ connected: 0, modulesByImage: { [V1]: { running: 5 } } });
    await rest(fleet, clock);
    expect(fleet.totals()).toMatchObject({ connected: 5, modulesByImage: { [V2]: { running: 5 } } });
    expect([...gateway.seen.values()].every(({ code, image }) => code === 200 && image === V2)).toBe(true);
    fleet.close();

    const silent = startFleet(gateway, clock, {
      count: 5,
      deviceId: (n) => `gone-${n}`,
      behaviour: withTable({ offlineForever: 1 }),
    });
    gateway.desire(deploy(V1));
    await rest(silent, clock);
    expect(silent.totals()).toMatchObject({ connected: 0, bytesPulled: 0, modulesByImage: {} });
  });

  test("slow to report runs long before it says so", async () => {
    const [gateway, clock] = [createLeanGateway(), createSteppedClock(START)];
    const slowReport = { rate: 1, delayMs: 120_000 };
    const crashLoop = { rate: 1, afterMs: 45_000 };
    const fleet = startFleet(gateway, clock, { count: 1, behaviour: withTable({ slowReport, crashLoop }) });
    gateway.desire(deploy(V1));
    await clock.advance(40_000);
    expect(fleet.totals().modulesByImage).toEqual({ [V1]: { running: 1 } });
    await clock.advance(20_000);
    expect(fleet.totals().modulesByImage).toEqual({ [V1]: { backoff: 1 } });
    expect(gateway.seen.get("device-000000")?.code).toBe(500);
    await clock.advance(120_000);
    expect(gateway.seen.get("device-000000")?.code).toBe(200);
    fleet.close();
  });

  test("waits for layers that are looked up, and treats a failed look-up as a failed pull", async () => {
    const [gateway, clock] = [createLeanGateway(), createSteppedClock(START)];
    let asked = 0;
    const layersOf = async (image: string): Promise<readonly AccountedLayer[]> => {
      if (++asked === 1) throw new Error("registry down");
      return LAYERS[image] ?? [];
    };
    const fleet = startFleet(gateway, clock, { count: 3, layersOf });
    gateway.desire(deploy(V1));
    await clock.advance(5_000);
    expect(fleet.totals().devicesByCode).toEqual({ 500: 3 });
    await rest(fleet, clock);
    expect(asked).toBe(2);
    expect(fleet.totals()).toMatchObject({ devicesByCode: { 200: 3 }, bytesPulled: 3 * 1_002_500 });
    fleet.close();
  });
});

describe("a fleet's trouble", () => {
  test("depends on seed, device, slot and image digest alone", () => {
    const traits = { deviceId: "d", slot: "07", image: V1 };
    const table: BehaviourTable = { ...DEFAULT_BEHAVIOUR, crashLoop: { rate: 0.5, afterMs: 1 } };
    const crashes = (seed: number, change: Partial<typeof traits>): string =>
      Array.from({ length: 64 }, (_, index) =>
        createSeededBehaviour({ seed, table }).decide({ ...traits, deviceId: `d${index}`, ...change }).crashAfterMs ===
        1
          ? "x"
          : ".",
      ).join("");
    expect(crashes(1, {})).toBe(crashes(1, {}));
    expect(crashes(1, {})).toBe(crashes(1, { image: V1.replace("app:1", "app:other") }));
    const others = [crashes(1, {}), crashes(2, {}), crashes(1, { slot: "08" }), crashes(1, { image: V2 })];
    expect(new Set(others).size).toBe(4);
  });

  test("comes at the rates of the table, and where a slot says otherwise at the slot's", () => {
    const slots = { "42": { crashLoop: { rate: 1, afterMs: 1 } } };
    const behaviour = createSeededBehaviour({ seed: 5, slots });
    const decide = (slot: string): number[] => {
      const decisions = Array.from({ length: 20_000 }, (_, n) =>
        behaviour.decide({ deviceId: `device-${n}`, slot, image: V1 }),
      );
      return [
        decisions.filter(({ offlineMs }) => offlineMs > 0).length,
        decisions.filter(({ bytesPerSecond }) => bytesPerSecond === 8_000).length,
        decisions.filter(({ failedPulls }) => failedPulls > 0).length,
        decisions.filter(({ crashAfterMs }) => crashAfterMs !== undefined).length,
      ];
    };
    const [offline = 0, slow = 0, failing = 0, crashing = 0] = decide("41");
    expect(Math.abs(offline - 200)).toBeLessThan(60);
    expect(Math.abs(slow - 400)).toBeLessThan(80);
    expect(Math.abs(failing - 100)).toBeLessThan(40);
    expect(crashing).toBe(0);
    expect(decide("42")[3]).toBe(20_000);
  });

  test("is the same with the same seed, another with another", async () => {
    const run = async (seed: number): Promise<string> => {
      const [gateway, clock] = [createLeanGateway(true), createSteppedClock(START)];
      const fleet = startFleet(gateway, clock, { seed, count: 300, behaviour: DEFAULT_BEHAVIOUR });
      fleet.changeImage("registry/app:2", { crashLoop: { rate: 0.3, afterMs: 4_000 } });
      for (const image of [V1, V2, V1]) {
        gateway.desire(deploy(image));
        await clock.advance(1_800_000);
      }
      const result = JSON.stringify([fleet.totals(), [...gateway.seen.values()]]);
      fleet.close();
      return result;
    };
    const first = await run(7);
    expect(await run(7)).toBe(first);
    expect(await run(8)).not.toBe(first);
  });

  test("never shows a status that cannot follow the one before", async () => {
    const [gateway, clock] = [createLeanGateway(true), createSteppedClock(START)];
    // Nobody is away or slow to report: what happens meanwhile would show in one step.
    const rough = withTable({ failingPull: { rate: 0.2, attempts: 2 }, crashLoop: { rate: 0.4, afterMs: 3_000 } });
    const fleet = startFleet(gateway, clock, { count: 500, behaviour: rough });
    for (let round = 0; round < 6; round++) {
      gateway.desire(deploy(round % 2 === 0 ? V1 : V2), (deviceId) => (Number(deviceId.slice(-6)) + round) % 3 > 0);
      await clock.advance(45_000 * (round + 1));
    }
    let steps = 0;
    for (const { history } of gateway.seen.values()) {
      const statuses = history.map((line) => (line.split(" ")[1] || "unknown") as RuntimeStatus);
      for (const [index, status] of statuses.slice(1).entries()) {
        const before = statuses[index] as RuntimeStatus;
        // A replaced module is another one: it begins anew, which shows as running.
        expect([before, ...TRANSITIONS[before], "running"]).toContain(status);
        steps++;
      }
    }
    expect(steps).toBeGreaterThan(3_000);
    fleet.close();
  });
});

describe("100,000 devices", () => {
  test("are rolled out to in one process with exact totals and little memory", async () => {
    const count = 100_000;
    const [gateway, clock] = [createLeanGateway(), createSteppedClock(START)];
    globalThis.gc?.();
    const before = process.memoryUsage().heapUsed;
    const fleet = startFleet(gateway, clock, { count, behaviour: { ...DEFAULT_BEHAVIOUR, offlineForever: 0 } });
    gateway.desire(deploy(V1));
    await rest(fleet, clock);
    for (const half of [0, 1]) {
      gateway.desire(deploy(V2), (deviceId) => Number(deviceId.slice(-1)) % 2 === half);
      await rest(fleet, clock);
    }
    const totals = fleet.totals();
    expect(totals).toMatchObject({
      devices: count,
      connected: count,
      bytesPulled: count * (1_002_500 + 3_600),
      bytesByImage: { [V1]: count * 1_002_500, [V2]: count * 3_600 },
      modulesByImage: { [V2]: { running: count } },
      devicesByCode: { 200: count },
      pulls: 2 * count,
    });
    expect(totals.failedPulls).toBeGreaterThan(count * 0.005);
    expect([...gateway.seen.values()].every(({ code, image }) => code === 200 && image === V2)).toBe(true);
    globalThis.gc?.();
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(300e6);
    fleet.close();
  });
});
