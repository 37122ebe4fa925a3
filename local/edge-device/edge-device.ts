// An edge device that really pulls, unpacks and runs images, and reports what its edge agent would.
import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import type { DeviceConnection, DeviceGateway } from "../iot-hub/device-gateway.ts";
import type { ModuleDefinition } from "./deployment.ts";
import { openImageStore } from "./image-store.ts";
import type { DevicePlatform } from "./manifest.ts";
import { callMethod } from "./methods.ts";
import type { ModuleState } from "./module-lifecycle.ts";
import { endStray } from "./module-process.ts";
import { createModuleRunner } from "./module-runner.ts";
import { localPlatform } from "./pull-image.ts";
import { createReconciler } from "./reconciler.ts";
import { createRegistryClient, deviceUserAgent } from "./registry-client.ts";
import type { ReportedProperties } from "./reported.ts";
import { diffReported, reportAgent, restateReported } from "./reported.ts";

/** A device, its hub and the folder that is its disk. */
export interface EdgeDeviceOptions {
  readonly deviceId: string;
  readonly gateway: DeviceGateway;
  readonly clock: Clock;
  /** Holds images and state; a device created again on the same folder still has them. */
  readonly folder: string;
  readonly tags?: Readonly<Record<string, unknown>>;
  readonly platform?: DevicePlatform;
  /** Milliseconds of real time between SIGTERM and SIGKILL; 10,000 unless given. */
  readonly killAfterMs?: number;
}

/** A running device. */
export interface EdgeDevice {
  readonly deviceId: string;
  /** The end of what a module wrote since it last started; empty when there is no such module. */
  logs(module: string): string;
  /** The root filesystem a module runs in, or undefined when there is no such module. */
  rootfs(module: string): string | undefined;
  /** Why the hub last refused a report, or undefined when it never did. */
  readonly refusedReport: unknown;
  /** Cuts or restores the connection; modules run on, and what changed meanwhile is reported afterwards. */
  setOnline(online: boolean): void;
  /** Resolves once no plan step is running; retries and restarts may still be waiting for their time. */
  settled(): Promise<void>;
  /** Disconnects and ends every process. */
  close(): Promise<void>;
}

interface SavedModule {
  readonly definition: ModuleDefinition;
  readonly imageHash: string;
  readonly state: ModuleState;
  readonly pid: number | undefined;
}

interface SavedState {
  readonly modules: readonly SavedModule[];
  readonly reported: ReportedProperties;
}

const DAY_MS = 86_400_000;
const UNUSED_IMAGE_MS = 7 * DAY_MS;

/**
 * Creates a device and connects it.
 *
 * Its edge agent follows the desired properties of `$edgeAgent` (schema 1.0 and 1.1) as documented for IoT Edge. System
 * modules are echoed as running, not pulled. Images that no module uses are collected daily once unused for 7 days.
 */
export function createEdgeDevice(options: EdgeDeviceOptions): EdgeDevice {
  const { deviceId, gateway, clock, folder, platform = localPlatform(), killAfterMs = 10_000 } = options;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const stateFile = join(folder, "state.json");
  const saved = readState(stateFile);
  const startedMs = clock.now();
  const client = createRegistryClient({
    userAgent: deviceUserAgent(deviceId),
    credentials: () => reconciler.state()?.deployment?.credentials ?? [],
  });
  const images = openImageStore({ folder, client, platform, now: () => clock.now() });
  const runner = createModuleRunner({ deviceId, clock, killAfterMs, onChange: publish });
  const reconciler = createReconciler({ clock, images, runner, onChange: publish });
  let reported = saved.reported;
  let connection: DeviceConnection | undefined;
  let refusedReport: unknown;
  /** Whether the next report says everything: after connecting, because the hub may be another one by now. */
  let restate = true;

  for (const { definition, imageHash, state, pid } of saved.modules) {
    if (pid !== undefined) endStray(pid, folder);
    const image = images.find(definition.image, imageHash);
    if (image !== undefined) runner.create(definition, image, wakeModule(state));
  }

  /** Saves the state and reports what changed since the last report that the hub took. */
  function publish(): void {
    const modules = [...runner.modules.values()].map((module): SavedModule => {
      const { definition, image, state, process } = module;
      return { definition, imageHash: image.imageHash, state, pid: process?.pid };
    });
    const progress = reconciler.state();
    if (progress !== undefined && connection !== undefined) {
      const next = reportAgent({ ...progress, platform, startedMs, modules });
      const patch = restate ? restateReported(reported, next) : diffReported(reported, next);
      if (patch !== undefined && report(connection, patch)) {
        reported = next;
        restate = false;
      }
    }
    writeState(stateFile, { modules, reported });
  }

  /** Sends a patch; false when the hub refused it, e.g. for its size: the next report carries what it had. */
  function report(to: DeviceConnection, patch: ReportedProperties): boolean {
    try {
      to.report("$edgeAgent", patch);
      return true;
    } catch (error) {
      refusedReport = error;
      return false;
    }
  }

  function setOnline(online: boolean): void {
    if (online === (connection !== undefined)) return;
    connection?.disconnect();
    connection = undefined;
    restate = true;
    if (!online) return;
    let waiting: Parameters<typeof reconciler.apply>[0] | undefined;
    const opened = gateway.connect(deviceId, {
      desired(properties) {
        // The first call may come before connect() has returned.
        if (connection === undefined) waiting = properties;
        else receive(properties);
      },
      async method(moduleId, name, payload) {
        if (moduleId === "$edgeAgent") return callMethod(runner, name, payload);
        return { status: 404, payload: { message: `Module ${moduleId} has no direct methods` } };
      },
    });
    connection = opened;
    if (waiting !== undefined) receive(waiting);
    publish();
  }

  function receive(properties: Parameters<typeof reconciler.apply>[0]): void {
    if (properties.$version !== reconciler.state()?.lastDesiredVersion) reconciler.apply(properties);
  }

  let cancelCollection = clock.after(DAY_MS, collect);
  function collect(): void {
    cancelCollection = clock.after(DAY_MS, collect);
    reconciler.whenIdle(() => {
      const inUse = new Set([...runner.modules.values()].map(({ image }) => image.imageHash));
      images.collect(inUse, clock.now(), UNUSED_IMAGE_MS);
    });
  }

  gateway.register(deviceId, options.tags);
  setOnline(true);
  return {
    deviceId,
    logs: (module) => (runner.modules.has(module) ? runner.logs(module) : ""),
    rootfs: (module) => runner.modules.get(module)?.image.rootfs,
    get refusedReport() {
      return refusedReport;
    },
    setOnline,
    settled: () => reconciler.settled(),
    async close() {
      setOnline(false);
      cancelCollection();
      await reconciler.close();
      await runner.close();
    },
  };
}

/** A module's state after the device was off: what ran then is to be started, what had ended stays as it was. */
function wakeModule(state: ModuleState): ModuleState {
  const wasAlive = state.runtimeStatus === "running" || state.runtimeStatus === "backoff";
  return wasAlive ? { ...state, runtimeStatus: "unknown" } : state;
}

function readState(file: string): SavedState {
  if (statSync(file, { throwIfNoEntry: false }) === undefined) return { modules: [], reported: {} };
  return JSON.parse(readFileSync(file, "utf8")) as SavedState;
}

function writeState(file: string, state: SavedState): void {
  writeFileSync(`${file}.partial`, JSON.stringify(state));
  renameSync(`${file}.partial`, file);
}
