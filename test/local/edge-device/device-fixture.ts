// What the device's tests share: a registry, a hub, a stepped clock and a folder per test, and words to read twins with.
import { mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach } from "vitest";
import type { SteppedClock } from "../../../local/clock.ts";
import { createSteppedClock } from "../../../local/clock.ts";
import type { EdgeDevice } from "../../../local/edge-device/edge-device.ts";
import { createEdgeDevice } from "../../../local/edge-device/edge-device.ts";
import type { RuntimeStatus } from "../../../local/edge-device/module-lifecycle.ts";
import { TRANSITIONS } from "../../../local/edge-device/module-lifecycle.ts";
import type { TestGateway } from "./test-gateway.ts";
import { createTestGateway } from "./test-gateway.ts";
import type { TestEntry, TestImage, TestLayer } from "./test-images.ts";
import { buildImage, buildLayer, executable } from "./test-images.ts";
import type { TestRegistry } from "./test-registry.ts";
import { startTestRegistry } from "./test-registry.ts";

/** When every test begins. */
export const START: number = Date.UTC(2026, 10, 20);
/** How long real processes and sockets may take on a busy machine. */
export const SOON: { readonly timeout: number; readonly interval: number } = { timeout: 20_000, interval: 20 };
export let folder = "";
export let registry: TestRegistry;
export let gateway: TestGateway;
export let clock: SteppedClock;
let devices: EdgeDevice[] = [];
/** A layer with a shell in `/bin/sh`. */
export let shell: TestLayer;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "lighter-device-"));
  registry = await startTestRegistry();
  gateway = createTestGateway();
  clock = createSteppedClock(START);
  devices = [];
  shell = await buildLayer(
    [executable("bin/sh", readFileSync(realpathSync("/bin/sh")).toString("latin1"))].map(asBinary),
  );
});
afterEach(async () => {
  await Promise.all(devices.map((device) => device.close()));
  await registry.close();
  rmSync(folder, { recursive: true, force: true });
  const bad = devices.flatMap(({ deviceId }) => badTransitions(deviceId));
  if (bad.length > 0) throw new Error(`reported what cannot follow: ${bad.join("; ")}`);
});

/** Changes of a module's reported status that the table does not know; a module with another image is another one. */
function badTransitions(deviceId: string): string[] {
  const bad: string[] = [];
  const last = new Map<string, { status: RuntimeStatus; image: unknown }>();
  for (const { after } of gateway.reports(deviceId)) {
    const modules = (after["modules"] ?? {}) as Record<
      string,
      { runtimeStatus: RuntimeStatus; settings: { image: unknown } }
    >;
    for (const name of last.keys()) if (!(name in modules)) last.delete(name);
    for (const [name, { runtimeStatus: status, settings }] of Object.entries(modules)) {
      const before = last.get(name);
      const allowed =
        before === undefined ? ["unknown", ...TRANSITIONS.unknown] : [before.status, ...TRANSITIONS[before.status]];
      if ((before === undefined || before.image === settings.image) && !allowed.includes(status)) {
        bad.push(`${name}: ${before?.status ?? "nothing"} to ${status}`);
      }
      last.set(name, { status, image: settings.image });
    }
  }
  return bad;
}

function asBinary(entry: TestEntry): TestEntry {
  return { ...entry, content: Buffer.from(entry.content as string, "latin1") };
}

/** Starts a device that is closed after the test. */
export function startDevice(deviceId = "d1"): EdgeDevice {
  const device = createEdgeDevice({ deviceId, gateway, clock, folder: join(folder, deviceId), killAfterMs: 500 });
  devices.push(device);
  return device;
}

/** An image whose entrypoint is a shell script. */
export async function scriptImage(script: string, config: Record<string, unknown> = {}): Promise<TestImage> {
  const layer = await buildLayer([executable("app/run.sh", `#!/bin/sh\n${script}\n`)]);
  return buildImage([shell, layer], { Entrypoint: ["/app/run.sh"], ...config });
}

/** Says that it is up and stays until it is told to go; `/bin/sleep` is the host's, as paths inside scripts are. */
export const STAY = "echo up\nexec /bin/sleep 3600";

/** Sets the desired modules of a device, each `running` and never restarted unless said otherwise; returns the version. */
export function desire(
  modules: Record<string, Record<string, unknown>>,
  deviceId = "d1",
  extra: Record<string, unknown> = {},
): number {
  const full = Object.fromEntries(
    Object.entries(modules).map(([name, { image, ...change }]) => [
      name,
      { type: "docker", status: "running", restartPolicy: "never", version: "1", settings: { image }, ...change },
    ]),
  );
  return gateway.desire(deviceId, { schemaVersion: "1.1", modules: full, ...extra });
}

/** The reported properties of `$edgeAgent`. */
export type Twin = Readonly<Record<string, unknown>>;
export const codeOf = (twin: Twin): unknown => (twin["lastDesiredStatus"] as { code?: unknown } | undefined)?.code;
export const moduleOf = (twin: Twin, name = "m"): Readonly<Record<string, unknown>> =>
  (twin["modules"] as Record<string, Record<string, unknown>> | undefined)?.[name] ?? {};
/** Holds once a version is in place. */
export const doneAt =
  (version: number): ((twin: Twin) => boolean) =>
  (twin) =>
    twin["lastDesiredVersion"] === version && codeOf(twin) === 200;
/** Holds once a module has a status. */
export const statusIs =
  (status: string, name = "m"): ((twin: Twin) => boolean) =>
  (twin) =>
    moduleOf(twin, name)["runtimeStatus"] === status;
