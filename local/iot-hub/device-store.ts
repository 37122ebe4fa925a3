// All devices with their twins, as they are and as the lagging query index sees them.
import type { Clock } from "../clock.ts";
import { type TwinState, createTwin } from "./twin.ts";
import type { JsonObject } from "./json.ts";

/** A device identity. */
export interface Device {
  readonly deviceId: string;
  /** Its place in the store, never reused. */
  readonly index: number;
  readonly generationId: string;
  etag: string;
  status: "enabled" | "disabled";
  iotEdge: boolean;
  /** Keys given by the caller; otherwise they are derived from the id. */
  keys: { readonly primary: string; readonly secondary: string } | undefined;
  connected: boolean;
  lastActivityMs: number;
  twin: TwinEntry;
  modules: TwinEntry[];
}

/** A twin's two faces: what point reads see, and what queries see; undefined where it does not exist. */
export interface TwinEntry {
  readonly device: Device;
  readonly moduleId: string | undefined;
  /** Whether a deployment brought the module, and will take it away again. */
  readonly deployed: boolean;
  current: TwinState | undefined;
  indexed: TwinState | undefined;
}

/** Who wants to know about changes; called after them. */
interface DeviceListener {
  /** The desired properties of a module, or of the device when there is no module id, changed. */
  desired(device: Device, moduleId: string | undefined): void;
  /** What target conditions look at changed: a new device, its tags, or its being an edge device. */
  targeting(device: Device): void;
  removed(device: Device): void;
}

/** The devices by id and by place, and the only writer of their twins. */
export interface DeviceStore {
  /** Adds a device that is not there yet; edge devices get `$edgeAgent` and `$edgeHub`. */
  add(deviceId: string, settings: { readonly iotEdge: boolean; readonly tags?: JsonObject }): Device;
  get(deviceId: string): Device | undefined;
  remove(device: Device): void;
  /** Turns a device into an edge device. */
  makeEdge(device: Device): void;
  /** The module's entry, if the module exists. */
  module(device: Device, moduleId: string): TwinEntry | undefined;
  addModule(device: Device, moduleId: string, deployed?: boolean): TwinEntry;
  removeModule(entry: TwinEntry): void;
  /** Replaces a twin; the index follows after its lag. */
  write(entry: TwinEntry, state: TwinState): void;
  /** Every device that exists, in the order of registration. */
  devices(): Iterable<Device>;
  /** Every place ever given, with the device that queries may still see there. */
  places(): readonly (Device | undefined)[];
  count(): number;
  /** Lets the index catch up with what its lag allows; called before it is read. */
  catchUp(): void;
  listen(listener: DeviceListener): void;
}

interface Pending {
  readonly dueMs: number;
  readonly entry: TwinEntry;
  readonly state: TwinState | undefined;
}

const SYSTEM_MODULES: readonly string[] = ["$edgeAgent", "$edgeHub"];

/** Creates an empty store whose index follows `indexLagMs` of the clock's time behind. */
export function createDeviceStore({
  clock,
  indexLagMs,
}: {
  readonly clock: Clock;
  readonly indexLagMs: number;
}): DeviceStore {
  const byId = new Map<string, Device>();
  const places: (Device | undefined)[] = [];
  let pending: Pending[] = [];
  let firstPending = 0;
  let generations = 0;
  const listeners: DeviceListener[] = [];

  const publish = (entry: TwinEntry, state: TwinState | undefined): void => {
    entry.indexed = state;
    if (state !== undefined || entry.current !== undefined) return;
    const { device } = entry;
    if (entry.moduleId !== undefined) device.modules = device.modules.filter((other) => other !== entry);
    else places[device.index] = undefined;
  };
  const catchUp = (): void => {
    const now = clock.now();
    while (firstPending < pending.length) {
      const change = pending[firstPending] as Pending;
      if (change.dueMs > now) break;
      publish(change.entry, change.state);
      firstPending += 1;
    }
    if (firstPending > 1024 && firstPending * 2 > pending.length) {
      pending = pending.slice(firstPending);
      firstPending = 0;
    }
  };
  const replace = (entry: TwinEntry, state: TwinState | undefined): void => {
    entry.current = state;
    if (indexLagMs <= 0) return publish(entry, state);
    pending.push({ dueMs: clock.now() + indexLagMs, entry, state });
    catchUp();
  };
  const write = (entry: TwinEntry, state: TwinState): void => {
    const before = entry.current;
    if (before === state) return;
    replace(entry, state);
    for (const listener of listeners) {
      if (before?.desired !== state.desired) listener.desired(entry.device, entry.moduleId);
      if (entry.moduleId === undefined && before?.tags !== state.tags) listener.targeting(entry.device);
    }
  };
  const addModule = (device: Device, moduleId: string, deployed = false): TwinEntry => {
    const entry: TwinEntry = { device, moduleId, deployed, current: undefined, indexed: undefined };
    device.modules.push(entry);
    write(entry, createTwin(device, moduleId, clock.now()));
    return entry;
  };
  const module = (device: Device, moduleId: string): TwinEntry | undefined => {
    for (const entry of device.modules) if (entry.moduleId === moduleId && entry.current !== undefined) return entry;
    return undefined;
  };
  const makeEdge = (device: Device): void => {
    device.iotEdge = true;
    for (const listener of listeners) listener.targeting(device);
    for (const moduleId of SYSTEM_MODULES) if (module(device, moduleId) === undefined) addModule(device, moduleId);
  };

  return {
    add(deviceId, { iotEdge, tags }) {
      generations += 1;
      const identity: Omit<Device, "twin"> = {
        deviceId,
        index: places.length,
        generationId: String(generations),
        etag: Buffer.from(String(generations)).toString("base64"),
        status: "enabled",
        iotEdge: false,
        keys: undefined,
        connected: false,
        lastActivityMs: clock.now(),
        modules: [],
      };
      // A device and its twin refer to each other.
      const device = identity as Device;
      const entry: TwinEntry = { device, moduleId: undefined, deployed: false, current: undefined, indexed: undefined };
      device.twin = entry;
      places.push(device);
      byId.set(deviceId, device);
      write(entry, createTwin(device, undefined, clock.now(), tags));
      if (iotEdge) makeEdge(device);
      return device;
    },
    get: (deviceId) => byId.get(deviceId),
    remove(device) {
      byId.delete(device.deviceId);
      for (const entry of device.modules) if (entry.current !== undefined) replace(entry, undefined);
      replace(device.twin, undefined);
      for (const listener of listeners) listener.removed(device);
    },
    makeEdge,
    module,
    addModule,
    removeModule: (entry) => replace(entry, undefined),
    write,
    devices: () => byId.values(),
    places: () => places,
    count: () => byId.size,
    catchUp,
    listen: (listener) => void listeners.push(listener),
  };
}
