// Devices on the embedded hub and registry: the demo's images rolled out by configurations, and a fleet beside them.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { DemoImages } from "../../../local/demo/images.ts";
import { buildDemoImages } from "../../../local/demo/images.ts";
import { CALM_BEHAVIOUR } from "../../../local/edge-device/accounted-behaviour.ts";
import { createAccountedFleet } from "../../../local/edge-device/accounted-fleet.ts";
import { createControlDevice } from "../../../local/edge-device/control-device.ts";
import type { EdgeDevice } from "../../../local/edge-device/edge-device.ts";
import { createEdgeDevice } from "../../../local/edge-device/edge-device.ts";
import type { AccountedLayer } from "../../../local/edge-device/layer-sets.ts";
import type { LocalRegistry } from "../../../local/registry/registry.ts";
import { createRegistry } from "../../../local/registry/registry.ts";
import type { Fixture } from "../iot-hub/sdk.ts";
import { MINUTE_MS, baseContent, layerContent, startHub } from "../iot-hub/sdk.ts";

/** How long real processes and sockets may take on a busy machine. */
const SOON = { timeout: 20_000, interval: 20 };
const folder = mkdtempSync(join(tmpdir(), "lighter-stack-"));
const nodeModulesFolder = resolve(import.meta.dirname, "../../../node_modules/@azure");
let images: DemoImages;
let registry: LocalRegistry;
let stack: Fixture;
let devices: EdgeDevice[] = [];
let next = 0;

beforeAll(async () => {
  const build = {
    folder: join(folder, "build"),
    nodeModulesFolder,
    seed: 3,
    dependencyFiles: 300,
    dependencyBytes: 2_000_000,
  };
  images = await buildDemoImages(build);
  registry = await createRegistry({ folder: join(folder, "registry") });
  for (const version of [1, 2, 3] as const)
    await images.push(version, { registryUrl: registry.url, repository: "app" });
});
afterAll(async () => {
  await registry.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  stack = await startHub();
});
afterEach(async () => {
  await Promise.all(devices.map((device) => device.close()));
  devices = [];
});

const digestOf = (version: number): string => images.images[version - 1]?.digest ?? "";
const imageOf = (version: number): string => `${registry.host}/app:${version}@${digestOf(version)}`;

function startDevice(slot: string): EdgeDevice {
  const deviceId = `edge-${next++}`;
  const { hub, clock } = stack;
  const device = createEdgeDevice({
    deviceId,
    gateway: hub.devices,
    clock,
    folder: join(folder, deviceId),
    tags: { lighter: { slot } },
  });
  devices.push(device);
  return device;
}

async function deploy(
  id: string,
  priority: number,
  targetCondition: string,
  content: Record<string, unknown>,
): Promise<void> {
  await stack.registry.addConfiguration({ id, schemaVersion: "1.0", priority, targetCondition, content });
  await stack.clock.advance(MINUTE_MS);
}

interface Reported {
  readonly lastDesiredStatus: { readonly code: number };
  readonly modules?: Record<
    string,
    { readonly runtimeStatus: string; readonly exitCode: number; readonly settings: { readonly image: string } }
  >;
}
async function reportedBy(deviceId: string): Promise<Reported> {
  const { responseBody } = (await stack.registry.getModuleTwin(deviceId, "$edgeAgent")) as unknown as {
    responseBody: { properties: { reported: Reported } };
  };
  return responseBody.properties.reported;
}

/** Waits, in real time because processes take it, until a device's module runs an image in a status. */
async function becomes(deviceId: string, version: number, runtimeStatus: string): Promise<void> {
  await expect
    .poll(
      async () => {
        const { modules, lastDesiredStatus } = await reportedBy(deviceId);
        return [modules?.["model"]?.settings.image, modules?.["model"]?.runtimeStatus, lastDesiredStatus.code];
      },
      { timeout: 30_000, interval: 50 },
    )
    .toEqual([imageOf(version), runtimeStatus, 200]);
}

describe("devices on the embedded stack", () => {
  test("pull, run and roll back as configurations say, and the registry counts what they pulled", async () => {
    const device = startDevice("01");
    const { deviceId } = device;
    await deploy("base", 1, "*", baseContent());
    await deploy("v1", 10, "tags.lighter.slot='01'", layerContent("model", imageOf(1)));
    await becomes(deviceId, 1, "running");
    await expect.poll(() => device.logs("model"), SOON).toContain('"version":1');
    const full = registry.traffic(deviceId).responseBytes;
    const layerBytes = Object.values(images.images[0]?.layers ?? {}).reduce((sum, { size }) => sum + size, 0);
    expect(full).toBeGreaterThan(layerBytes);
    expect(full).toBeLessThan(layerBytes + 20_000);

    await deploy("v2", 11, "tags.lighter.slot='01'", layerContent("model", imageOf(2)));
    await becomes(deviceId, 2, "running");
    const update = registry.traffic(deviceId).responseBytes - full;
    const base = images.images[0]?.layers.base.size ?? 0;
    expect(update).toBeGreaterThan(layerBytes - base - 20_000);
    expect(update).toBeLessThan(layerBytes - base + 20_000);

    await deploy("v3", 12, "tags.lighter.slot='01'", layerContent("model", imageOf(3)));
    await becomes(deviceId, 3, "backoff");
    expect((await reportedBy(deviceId)).modules?.["model"]).toMatchObject({ exitCode: 1 });
    const before = registry.traffic(deviceId).responseBytes;
    await deploy("back", 13, "tags.lighter.slot='01'", layerContent("model", imageOf(1)));
    await becomes(deviceId, 1, "running");
    expect(registry.traffic(deviceId).responseBytes).toBe(before);
  });

  test("answer direct methods through the hub", async () => {
    const { deviceId } = startDevice("02");
    await deploy(
      "v1",
      10,
      "*",
      baseContent({
        model: { type: "docker", status: "running", restartPolicy: "always", settings: { image: imageOf(1) } },
      }),
    );
    await becomes(deviceId, 1, "running");
    const request = { methodName: "GetModuleLogs", payload: { items: { id: "model" } }, responseTimeoutInSeconds: 30 };
    const call = async (): Promise<unknown> =>
      (await stack.client.invokeDeviceMethod(deviceId, "$edgeAgent", request)).result;
    await expect
      .poll(call, SOON)
      .toMatchObject({ status: 200, payload: [{ id: "model", payload: expect.stringContaining('"version":1') }] });
  });

  test.each([
    ["cut short", { kind: "truncate", afterBytes: 1_000 }],
    ["damaged", { kind: "corrupt", offset: 500 }],
    ["reset", { kind: "reset" }],
    ["refused", { kind: "status", status: 503 }],
  ] as const)("retry a layer that comes %s and end up right", async (_name, effect) => {
    const device = startDevice("03");
    const digest = images.images[0]?.layers.dependencies.digest ?? "";
    const left = registry.faults.inject({
      match: { path: `/blobs/${digest}`, client: device.deviceId },
      times: 2,
      effect,
    });
    await deploy("base", 1, "*", baseContent());
    await deploy("v1", 10, "*", layerContent("model", imageOf(1)));
    for (let failed = 0; failed < 2; failed++) {
      await expect.poll(left, { timeout: 20_000 }).toBe(1 - failed);
      await device.settled();
      expect((await reportedBy(device.deviceId)).lastDesiredStatus.code).toBe(500);
      await stack.clock.advance(10_000 * 2 ** failed);
    }
    await becomes(device.deviceId, 1, "running");
  });

  test("without a hub: a control device pulls by tag", async () => {
    const control = createControlDevice({ deviceId: "control", folder: join(folder, "control") });
    const first = await control.pull(`${registry.host}/app:1`);
    const second = await control.pull(`${registry.host}/app:2`);
    expect(first.layers.every(({ reused }) => !reused)).toBe(true);
    expect(second.layers.map(({ reused }) => reused)).toEqual([true, false, false]);
    const { responseBytes, requests } = registry.traffic("control");
    const bodies = first.bytesPulled + second.bytesPulled;
    expect(responseBytes).toBeGreaterThan(bodies);
    expect(responseBytes).toBeLessThan(bodies + requests * 1_000);
  });
});

describe("a registry that wants credentials", () => {
  test.each(["basic", "bearer"] as const)(
    "by a %s challenge gets the right ones, again when a token has expired",
    async (challenge) => {
      const privateFolder = join(folder, `private-${challenge}`);
      const open = await createRegistry({ folder: privateFolder });
      await images.push(1, { registryUrl: open.url, repository: "app" });
      await open.close();
      const user = {
        name: "fleet",
        password: "pull:only",
        grants: [{ repository: "app", actions: ["pull" as const] }],
      };
      let nowMs = Date.now();
      const guarded = await createRegistry({
        folder: privateFolder,
        auth: { challenge, users: [user], now: () => nowMs },
      });
      const client = (password: string): ReturnType<typeof createControlDevice> =>
        createControlDevice({
          deviceId: `guarded-${challenge}`,
          folder: join(folder, `guarded-${challenge}`),
          credentials: [{ address: guarded.host, username: "fleet", password }],
        });
      try {
        await expect(client("wrong").pull(`${guarded.host}/app:1`)).rejects.toMatchObject({ code: "UNAUTHORIZED" });
        await expect(client("pull:only").pull(`${guarded.host}/other:1`)).rejects.toMatchObject({ name: "PullError" });
        const right = client("pull:only");
        expect((await right.pull(`${guarded.host}/app:1`)).layers).toHaveLength(3);
        nowMs += 86_400_000;
        expect((await right.pull(`${guarded.host}/app:1`)).bytesReused).toBeGreaterThan(0);
      } finally {
        await guarded.close();
      }
    },
  );
});

describe("an accounted fleet on the embedded hub", () => {
  test("of 20,000 is rolled out to in two stages, and the hub's metrics agree with the fleet's totals", async () => {
    const count = 20_000;
    const layersOf = async (image: string): Promise<readonly AccountedLayer[]> => {
      const version = image === imageOf(1) ? 1 : 2;
      return Object.values(images.images[version - 1]?.layers ?? {});
    };
    const slotOf = (deviceId: string): string => deviceId.slice(-2);
    const fleet = createAccountedFleet({
      gateway: stack.hub.devices,
      clock: stack.clock,
      seed: 1,
      count,
      layersOf,
      behaviour: CALM_BEHAVIOUR,
      tagsOf: (deviceId) => ({ lighter: { slot: slotOf(deviceId) } }),
    });
    await deploy("base", 1, "*", baseContent());
    await deploy("v1", 10, "*", layerContent("model", imageOf(1)));
    await stack.clock.advance(10 * MINUTE_MS);
    expect(fleet.totals()).toMatchObject({
      devicesByCode: { 200: count },
      modulesByImage: { [imageOf(1)]: { running: count } },
    });

    await deploy("v2", 11, "tags.lighter.slot='07'", layerContent("model", imageOf(2)));
    await stack.clock.advance(10 * MINUTE_MS);
    expect(fleet.totals().modulesByImage[imageOf(2)]).toEqual({ running: count / 100 });

    const { responseBody: stage } = await stack.registry.getConfiguration("v2");
    await stack.registry.updateConfiguration({ ...stage, targetCondition: "*" });
    await stack.clock.advance(15 * MINUTE_MS);
    const { layers } = images.images[1] as (typeof images.images)[number];
    expect(fleet.totals()).toMatchObject({
      modulesByImage: { [imageOf(2)]: { running: count } },
      bytesByImage: { [imageOf(2)]: count * (layers.model.size + layers.dependencies.size) },
    });
    const { responseBody: done } = await stack.registry.getConfiguration("v2");
    expect(done.systemMetrics?.results).toMatchObject({
      targetedCount: count,
      appliedCount: count,
      reportedSuccessfulCount: count,
    });
    fleet.close();
  });
});
