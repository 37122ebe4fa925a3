// The IoT Hub adapter against the embedded hub: deployments, counts, slots, twins, and calls that are throttled or fail.
import { createServer, type AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createSteppedClock, type SteppedClock } from "../../../local/clock.ts";
import { createIotHub as createLocalHub, type IotHub as LocalHub } from "../../../local/iot-hub/iot-hub.ts";
import { createIotHub } from "../../../src/adapters/iot-hub/index.ts";
import { composeDeployment, composeModule, type Deployment } from "../../../src/core/rollout/deployment.ts";
import { slotOf } from "../../../src/core/rollout/slots.ts";
import { composeTargetCondition } from "../../../src/core/rollout/target-condition.ts";
import type { IotHub } from "../../../src/ports/iot-hub.ts";
import { connectSdk } from "../../local/iot-hub/sdk.ts";
import { sampleConfig } from "../../support/config.ts";

const IMAGE = `127.0.0.1:5000/team/detector:2@sha256:${"2".repeat(64)}`;
const MINUTE = 60_000;
const retry = { retries: 4, minTimeout: 1, maxTimeout: 4, factor: 2, randomize: false };

let clock: SteppedClock;
let local: LocalHub;
let hub: IotHub;

beforeEach(async () => {
  clock = createSteppedClock(Date.UTC(2026, 0, 1));
  local = await createLocalHub({ clock, unlimited: true });
  hub = createIotHub({ name: "main", connection: local.connectionString, retry, devicesPerSecond: 10_000 });
});

afterEach(async () => {
  await local.close();
});

function deploymentFor(slots: readonly string[]): Deployment {
  return composeDeployment({
    id: "lighter-detector-000000000000-1",
    priority: 10_000,
    targetCondition: composeTargetCondition(slots),
    product: "detector",
    releaseId: "detector-000000000000-1",
    moduleName: "detector",
    module: composeModule(sampleConfig().products[0]!.module, IMAGE),
  });
}

describe("deployments", () => {
  test("are created once and widened, never changed in content", async () => {
    await hub.deployments.put(deploymentFor(["00"]));
    await hub.deployments.put(deploymentFor(["00"]));
    await hub.deployments.put(deploymentFor(["00", "01"]));
    const [only, ...others] = await hub.deployments.list();
    expect(others).toEqual([]);
    expect(only).toMatchObject({
      priority: 10_000,
      targetCondition: "tags.lighter.slot='00' OR tags.lighter.slot='01'",
      labels: { createdBy: "lighter", product: "detector" },
      content: deploymentFor([]).content,
    });
  });

  test("that are not there read as undefined and are removed without complaint", async () => {
    expect(await hub.deployments.get("nobody")).toBeUndefined();
    await hub.deployments.remove("nobody");
    await hub.deployments.put(deploymentFor(["00"]));
    await hub.deployments.remove(deploymentFor([]).id);
    expect(await hub.deployments.list()).toEqual([]);
  });

  test("count what runs, what failed and what is targeted, at the hub's evaluations", async () => {
    const base = {
      id: "base",
      priority: 1,
      targetCondition: "*",
      labels: {},
      metrics: { queries: {} },
      content: {
        modulesContent: {
          $edgeAgent: {
            "properties.desired": {
              schemaVersion: "1.1",
              runtime: { type: "docker", settings: { minDockerVersion: "v1.25" } },
              systemModules: {
                edgeAgent: { type: "docker", settings: { image: "agent", createOptions: "{}" } },
                edgeHub: {
                  type: "docker",
                  status: "running",
                  restartPolicy: "always",
                  settings: { image: "hub", createOptions: "{}" },
                },
              },
              modules: {},
            },
          },
          $edgeHub: {
            "properties.desired": {
              schemaVersion: "1.1",
              routes: {},
              storeAndForwardConfiguration: { timeToLiveSecs: 7_200 },
            },
          },
        },
      },
    } satisfies Deployment;
    await hub.deployments.put(base);
    const reports = { well: "running", crashed: "backoff", pulling: undefined } as const;
    for (const [deviceId, runtimeStatus] of Object.entries(reports)) {
      local.devices.register(deviceId, { lighter: { slot: "00" } });
      const connection = local.devices.connect(deviceId, {
        desired({ $version }) {
          const code = runtimeStatus === undefined ? 500 : 200;
          const module = { runtimeStatus, settings: { image: IMAGE } };
          connection?.report("$edgeAgent", {
            lastDesiredVersion: $version,
            lastDesiredStatus: { code, description: "" },
            ...(runtimeStatus === undefined ? {} : { modules: { detector: module } }),
          });
        },
      });
    }
    await hub.deployments.put(deploymentFor(["00"]));
    await clock.advance(15 * MINUTE);
    const deployment = await hub.deployments.get(deploymentFor([]).id);
    expect(deployment?.counts).toEqual({ targeted: 3, applied: 3, metrics: { running: 1, failed: 1 } });
    expect(await hub.fleet.readModule("well", "detector")).toEqual({ image: IMAGE, runtimeStatus: "running" });
    expect(await hub.fleet.readModule("pulling", "detector")).toBeUndefined();
  });
});

describe("the fleet", () => {
  test("gives every device its slot once, a hundred at a time, and counts by condition", async () => {
    for (let i = 0; i < 250; i++) local.devices.register(`device-${i}`, i % 2 === 0 ? { site: "north" } : {});
    expect(await hub.fleet.assignSlots(slotOf)).toEqual({ assigned: 250 });
    expect(await hub.fleet.assignSlots(slotOf)).toEqual({ assigned: 0 });
    expect(local.calls()).toEqual({ "devices.bulk": 3, query: 2 });
    expect(await hub.fleet.countDevices("*")).toBe(250);
    expect(await hub.fleet.countDevices("tags.site='north'")).toBe(125);
    const slot = slotOf("device-7");
    expect(await hub.fleet.findDevices(composeTargetCondition([slot]), 250)).toContain("device-7");
    expect(await hub.fleet.findDevices("*", 10)).toHaveLength(10);
  });

  test("is given slots page by page, so that no call takes long, and what is cut off goes on where it was", async () => {
    for (let i = 0; i < 2_100; i++) local.devices.register(`device-${i}`);
    const first = await hub.fleet.assignSlots(slotOf);
    expect(first).toEqual({ assigned: 1_000, continuation: expect.any(String) });
    local.inject({ operation: "devices.bulk", after: 3, times: 9, fault: { kind: "status", status: 503 } });
    await expect(hub.fleet.assignSlots(slotOf, first.continuation)).rejects.toMatchObject({ retryable: true });
    local.clearFaults();
    expect(await hub.fleet.assignSlots(slotOf, first.continuation)).toEqual({ assigned: 800 });
    const all = Array.from({ length: 100 }, (_slot, index) => String(index).padStart(2, "0"));
    expect(await hub.fleet.countDevices(composeTargetCondition(all))).toBe(2_100);
  });

  test("is given slots at the configured pace, for about a minute of the hub's clock at a time", async () => {
    for (let i = 0; i < 400; i++) local.devices.register(`device-${i}`);
    const paced = createIotHub({
      name: "main",
      connection: local.connectionString,
      retry,
      devicesPerSecond: 5,
      timeScale: 600,
    });
    const before = performance.now();
    const { assigned, continuation } = await paced.fleet.assignSlots(slotOf);
    expect(assigned).toBe(300);
    expect(performance.now() - before).toBeGreaterThanOrEqual(99);
    expect(await paced.fleet.assignSlots(slotOf, continuation)).toEqual({ assigned: 100 });
  });

  test("is walked through once, even while queries show devices that have their slot already", async () => {
    const lagging = await createLocalHub({ clock, unlimited: true, queryLagMs: 30 * MINUTE });
    for (let i = 0; i < 2_500; i++) lagging.devices.register(`device-${i}`);
    await clock.advance(30 * MINUTE);
    const behind = createIotHub({
      name: "main",
      connection: lagging.connectionString,
      retry,
      devicesPerSecond: 10_000,
    });
    let continuation: string | undefined;
    do ({ continuation } = await behind.fleet.assignSlots(slotOf, continuation));
    while (continuation !== undefined);
    expect(lagging.calls()).toEqual({ query: 3, "devices.bulk": 25 });
    await lagging.close();
  });

  test("does without the slots of devices that were deleted since a query showed them", async () => {
    const lagging = await createLocalHub({ clock, unlimited: true, queryLagMs: MINUTE });
    const connection = lagging.connectionString;
    const behind = createIotHub({ name: "main", connection, retry, devicesPerSecond: 10_000 });
    for (const id of ["stays", "goes"]) lagging.devices.register(id);
    await clock.advance(MINUTE);
    await connectSdk(connection).registry.delete("goes");
    expect(await behind.fleet.assignSlots(slotOf)).toEqual({ assigned: 2 });
    await clock.advance(MINUTE);
    expect(await behind.fleet.countDevices(composeTargetCondition([slotOf("stays")]))).toBe(1);
    await lagging.close();
  });
});

describe("calls", () => {
  test("are repeated while the hub throttles or fails, and then succeed", async () => {
    local.inject({ operation: "configurations.list", times: 2, fault: { kind: "status", status: 429 } });
    expect(await hub.deployments.list()).toEqual([]);
    local.inject({ operation: "configurations.list", times: 1, fault: { kind: "status", status: 503 } });
    expect(await hub.deployments.list()).toEqual([]);
    expect(local.calls()["configurations.list"]).toBe(5);
  });

  test("whose answer was lost are repeated without doing their work twice", async () => {
    local.inject({ operation: "configurations.put", fault: { kind: "lost" } });
    await hub.deployments.put(deploymentFor(["00"]));
    local.inject({ operation: "configurations.put", fault: { kind: "lost" } });
    await hub.deployments.put(deploymentFor(["00", "01"]));
    local.inject({ operation: "configurations.delete", fault: { kind: "lost" } });
    expect(await hub.deployments.list()).toHaveLength(1);
    await hub.deployments.remove(deploymentFor([]).id);
    expect(await hub.deployments.list()).toEqual([]);
  });

  test("end in a typed error that says whether to try again later", async () => {
    local.inject({ operation: "configurations.list", times: 9, fault: { kind: "status", status: 429 } });
    await expect(hub.deployments.list()).rejects.toMatchObject({ code: "THROTTLED", retryable: true });
    local.clearFaults();
    await expect(hub.fleet.countDevices("tags.a < 3 AND")).rejects.toMatchObject({
      code: "BAD_REQUEST",
      retryable: false,
    });
    const wrongKey = createIotHub({
      name: "main",
      connection: local.connectionString.replace(/SharedAccessKey=.*/, "SharedAccessKey=d3Jvbmc="),
      retry,
      devicesPerSecond: 25,
    });
    await expect(wrongKey.deployments.list()).rejects.toMatchObject({ code: "UNAUTHORIZED", retryable: false });
  });

  test("to nowhere are unreachable, and a connection without host or key is refused", async () => {
    // A port that is held, so that nobody else answers on it, by a server that hangs up on everyone.
    const silent = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const { port } = silent.address() as AddressInfo;
    const connection = local.connectionString.replace(/HostName=[^;]+/, `HostName=127.0.0.1:${port}`);
    const nowhere = createIotHub({ name: "main", connection, retry, devicesPerSecond: 10 });
    await expect(nowhere.deployments.list()).rejects.toMatchObject({ code: "UNREACHABLE", retryable: true });
    silent.close();
    expect(() => createIotHub({ name: "main", connection: "SharedAccessKey=abc", devicesPerSecond: 25 })).toThrowError(
      expect.objectContaining({ code: "INVALID_CONNECTION" }),
    );
  });
});
