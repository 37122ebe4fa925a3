// The demo: three versions of an image pushed to the embedded stack, and what they cost the devices that run them.
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { LighterError } from "../../src/core/errors.ts";
import { createControlDevice } from "../edge-device/control-device.ts";
import { createEdgeDevice, type EdgeDevice } from "../edge-device/edge-device.ts";
import { createStack, findProjectFolder, HUB_NAME, type Stack } from "../stack.ts";
import type { DemoEvent, DemoResult, DemoStage, DemoStep } from "./demo-events.ts";
import { buildDemoImages, type DemoImages, type DemoVersion } from "./images.ts";

/** How to run it. */
export interface DemoOptions {
  readonly folder: string;
  readonly seed: number;
  /** Seconds of the stack's clock per second; rollouts take hours of it. */
  readonly timeScale: number;
  /** A smaller dependency layer, for tests. */
  readonly dependencyFiles?: number;
  readonly dependencyBytes?: number;
  readonly report: (event: DemoEvent) => void;
  /** Ends it at any point; what has been started is closed first. */
  readonly signal?: AbortSignal;
}

/** A demo that ran; its stack stays up until it is closed. */
export interface Demo {
  readonly result: DemoResult;
  readonly stack: Stack;
  close(): Promise<void>;
}

const REPOSITORY = "fleet/demand-forecast";
const MODULE = "forecast";
const PRODUCT = "forecast";

/** Names whose slots fall into the rings below: one canary, one early, two in the rest. */
const CANARIES = ["truck-25"];
const OTHERS = ["truck-01", "truck-02", "truck-03"];
const RINGS = [
  { name: "canary", slots: "00-09" },
  { name: "early", slots: "10-39" },
  { name: "fleet", slots: "40-99" },
];
const GATE = { successPercent: 100, failurePercent: 5, bakeMinutes: 10, timeoutMinutes: 360 };

/** How long one release may take, in wall seconds, before the demo gives up. */
const RELEASE_SECONDS = 180;
const POLL_MS = 200;

/** The parts of the API's release view that the demo reads. */
interface ReleaseView {
  readonly id: string;
  readonly tag: string;
  readonly state: string;
  readonly reason?: string;
  readonly waitsFor?: string;
  readonly finishedAt?: string;
  readonly image?: { readonly reference: string; readonly verified: string; readonly layers: number };
  readonly sizes?: { readonly fullBytes: number; readonly updateBytes: number; readonly deltaLayerBytes: number };
  readonly rollouts: Readonly<
    Record<
      string,
      {
        readonly stages: readonly {
          readonly ring: string;
          readonly state: string;
          readonly reason?: string;
          readonly counts?: { readonly targeted: number; readonly running: number };
        }[];
        readonly rollback?: { readonly state: string; readonly reason: string; readonly restored?: number };
      }
    >
  >;
}

const refuse = (subject: string, got: string, want: string): LighterError =>
  new LighterError("DEMO_FAILED", { operation: "demo", subject, got, want });

/** Waits until the release of a tag is over. */
async function waitForRelease(stack: Stack, tag: string, report: DemoOptions["report"]): Promise<ReleaseView> {
  const deadline = Date.now() + RELEASE_SECONDS * 1_000;
  let told = "";
  let last: ReleaseView | undefined;
  while (Date.now() < deadline) {
    const { body } = await stack.call("GET", "releases");
    last = (body as { releases: ReleaseView[] }).releases.find((release) => release.tag === tag);
    if (last?.finishedAt !== undefined) return last;
    const waitsFor = last?.waitsFor ?? "the registry's webhook";
    if (waitsFor !== told) report({ type: "waiting", release: tag, state: last?.state ?? "pushed", waitsFor });
    told = waitsFor;
    await delay(POLL_MS);
  }
  throw refuse(`release of ${tag}`, `${last?.state ?? "nothing"} after ${RELEASE_SECONDS} s`, "an end");
}

function requireState(release: ReleaseView, state: string): ReleaseView {
  if (release.state === state) return release;
  throw refuse(`release of ${release.tag}`, `${release.state}: ${release.reason ?? "no reason"}`, state);
}

function stagesOf(release: ReleaseView): DemoStage[] {
  return (release.rollouts[HUB_NAME]?.stages ?? []).map(({ ring, state, reason = "", counts }) => ({
    ring,
    devices: counts?.targeted ?? 0,
    running: counts?.running ?? 0,
    state,
    reason,
  }));
}

/** What the fleet would pay at the published tariff of 24 USD a gigabyte. */
function priceOf(bytes: number): string {
  return `${((bytes / 1e9) * 24).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })} USD`;
}

/**
 * Runs the demo.
 * @throws LighterError DEMO_FAILED when a release does not end as it must; the signal's reason when it is aborted
 */
export async function runDemo(options: DemoOptions): Promise<Demo> {
  const { signal } = options;
  const closers: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (let end = closers.pop(); end !== undefined; end = closers.pop()) await end();
  };
  try {
    const played = play(options, (end) => closers.push(end));
    const { result, stack } = await (signal === undefined ? played : Promise.race([played, rejectOnAbort(signal)]));
    return { result, stack, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
}

/** Plays the three releases; whatever it starts is given to `onClose` as soon as it is on its way. */
async function play(
  options: DemoOptions,
  onClose: (end: () => Promise<void>) => void,
): Promise<Pick<Demo, "result" | "stack">> {
  const { folder, report, signal } = options;
  const seconds: Record<string, number> = {};

  async function timed<T>(step: DemoStep, work: () => Promise<T>): Promise<T> {
    const startedAt = performance.now();
    report({ type: "step", step, state: "started" });
    const result = await work();
    seconds[step] = Math.round((performance.now() - startedAt) / 100) / 10;
    report({ type: "step", step, state: "finished", detail: `${seconds[step]} s` });
    return result;
  }

  const startedAt = performance.now();
  // The images are built while the stack starts: the one needs the processors, the other waits for processes.
  const starting = timed("stack", () => startStack(options));
  onClose(async () => (await starting.catch(() => undefined))?.close());
  const [stack, images] = await Promise.all([
    starting,
    timed("images", () =>
      buildDemoImages({
        folder: join(folder, "images"),
        nodeModulesFolder: join(findProjectFolder(), "node_modules"),
        seed: options.seed,
        onProgress: (progress) => report({ type: "progress", ...progress }),
        ...(options.dependencyFiles === undefined ? {} : { dependencyFiles: options.dependencyFiles }),
        ...(options.dependencyBytes === undefined ? {} : { dependencyBytes: options.dependencyBytes }),
      }),
    ),
  ]);
  signal?.throwIfAborted();
  const push = (version: DemoVersion): Promise<unknown> =>
    images.push(version, { registryUrl: stack.registry.url, repository: REPOSITORY });
  const received = (device: string): number => stack.registry.traffic(device).responseBytes;

  const devices = new Map<string, EdgeDevice>();
  for (const deviceId of [...CANARIES, ...OTHERS]) {
    const device = createEdgeDevice({
      deviceId,
      gateway: stack.hub.devices,
      clock: stack.clock,
      folder: join(folder, "devices", deviceId),
      killAfterMs: 2_000,
    });
    onClose(() => device.close());
    devices.set(deviceId, device);
  }

  await timed("release 1", async () => {
    await stack.call("POST", `products/${PRODUCT}/baseline`, { absent: true });
    await push(1);
    requireState(await waitForRelease(stack, "1", report), "completed");
  });

  const before = new Map([...devices.keys()].map((device) => [device, received(device)]));
  const rebased = await timed("release 2", async () => {
    await push(2);
    return requireState(await waitForRelease(stack, "2", report), "completed");
  });
  const rebasedBytes = Math.max(...[...before].map(([device, bytes]) => received(device) - bytes));

  const fullBytes = await timed("control", async () => {
    const control = createControlDevice({ deviceId: "control", folder: join(folder, "devices", "control") });
    await control.pull(`${stack.registry.host}/${REPOSITORY}:1`);
    const held = received("control");
    await control.pull(`${stack.registry.host}/${REPOSITORY}:2`);
    return received("control") - held;
  });

  const running = (device: string): string => devices.get(device)?.logs(MODULE) ?? "";
  const beforeCrash = new Map(OTHERS.map((device) => [device, { bytes: received(device), logs: running(device) }]));
  const crashed = await timed("release 3", async () => {
    await push(3);
    return requireState(await waitForRelease(stack, "3", report), "rolled-back");
  });

  const rollback = crashed.rollouts[HUB_NAME]?.rollback;
  const result: DemoResult = {
    device: { fullBytes, rebasedBytes },
    deltaLayerBytes: rebased.sizes?.deltaLayerBytes ?? 0,
    verified: rebased.image?.verified ?? "",
    layers: { candidate: layersOf(images, 2), rebased: rebased.image?.layers ?? 0 },
    stages: stagesOf(rebased),
    rollback: {
      release: crashed.id,
      state: rollback?.state ?? "",
      reason: rollback?.reason ?? "",
      exposedDevices: stagesOf(crashed).at(-1)?.devices ?? 0,
      bytesBeyondCanary: sum([...beforeCrash].map(([device, { bytes }]) => received(device) - bytes)),
      untouchedDevices: [...beforeCrash].filter(([device, { logs }]) => running(device) === logs).length,
      restoredDevices: rollback?.restored ?? 0,
    },
    fleet: [1_000, 100_000].map((count) => ({
      devices: count,
      fullBytes: fullBytes * count,
      rebasedBytes: rebasedBytes * count,
      fullCost: priceOf(fullBytes * count),
      rebasedCost: priceOf(rebasedBytes * count),
    })),
    statusUrl: `${stack.host.url}/api/releases/${rebased.id}?code=${stack.host.key}`,
    seconds: { ...seconds, total: Math.round((performance.now() - startedAt) / 100) / 10 },
  };
  report({ type: "result", result });
  return { result, stack };
}

function startStack({ folder, timeScale }: DemoOptions): Promise<Stack> {
  return createStack({
    folder,
    timeScale,
    products: (registry) => [
      {
        name: PRODUCT,
        registry,
        repository: REPOSITORY,
        tags: "\\d+",
        platform: `linux/${process.arch === "x64" ? "amd64" : process.arch}`,
        module: { name: MODULE },
        rollout: { hubs: [HUB_NAME], rings: RINGS, gate: GATE },
      },
    ],
  });
}

function layersOf({ images }: DemoImages, version: DemoVersion): number {
  return Object.keys(images.find((image) => image.version === version)?.layers ?? {}).length;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
