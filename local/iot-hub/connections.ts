// The device side of the hub: live connections, what they report, and what is delivered to them.
import type { Clock } from "../clock.ts";
import type { DesiredProperties, DeviceConnection, DeviceGateway, DeviceHandlers } from "./device-gateway.ts";
import type { Device, DeviceStore } from "./device-store.ts";
import { checkDeviceId } from "./identity.ts";
import { deviceNotFound } from "./iot-hub-error.ts";
import { EMPTY, type JsonObject } from "./json.ts";
import { checkSection, reportTwin } from "./twin.ts";

/** The gateway that devices see, with what the hub's other parts ask of it. */
export interface Connections extends DeviceGateway {
  /** The handlers of a connected device. */
  handlersOf(deviceId: string): DeviceHandlers | undefined;
  /** Calls back once when the device connects; returns a function that stops waiting. */
  onceConnected(deviceId: string, callback: () => void): () => void;
}

interface Live {
  readonly device: Device;
  readonly handlers: DeviceHandlers;
  waiting: boolean;
}

/** Devices with the same content and version get the same object. */
function createDesiredCache(): (content: JsonObject, version: number) => DesiredProperties {
  const byContent = new WeakMap<JsonObject, Map<number, DesiredProperties>>();
  return (content, version) => {
    let versions = byContent.get(content);
    if (versions === undefined) byContent.set(content, (versions = new Map()));
    let desired = versions.get(version);
    if (desired === undefined) versions.set(version, (desired = Object.freeze({ ...content, $version: version })));
    return desired;
  };
}

/** Creates the gateway over the devices of a store; one connection per device, the newest. */
export function createConnections(devices: DeviceStore, clock: Clock): Connections {
  const live = new Map<string, Live>();
  const waiters = new Map<string, Set<() => void>>();
  const desiredOf = createDesiredCache();
  let queue: Live[] = [];
  let next = 0;
  let scheduled = false;

  // Handlers run from a microtask, one after another: never inside the caller's own call, never inside each other.
  const drain = (): void => {
    scheduled = false;
    try {
      while (next < queue.length) {
        const connection = queue[next++] as Live;
        connection.waiting = false;
        const { device, handlers } = connection;
        const twin = devices.module(device, "$edgeAgent")?.current;
        if (twin === undefined || live.get(device.deviceId) !== connection) continue;
        handlers.desired(desiredOf(twin.desired.content, twin.desired.version));
      }
      queue = [];
      next = 0;
    } finally {
      // A handler that throws must not keep the others from their news.
      if (queue.length > 0) schedule();
    }
  };
  const schedule = (): void => {
    if (scheduled) return;
    scheduled = true;
    queueMicrotask(drain);
  };
  const deliver = (connection: Live): void => {
    if (connection.waiting) return;
    connection.waiting = true;
    queue.push(connection);
    schedule();
  };
  const close = (connection: Live): void => {
    const { device } = connection;
    if (live.get(device.deviceId) !== connection) return;
    live.delete(device.deviceId);
    device.connected = false;
    device.lastActivityMs = clock.now();
  };

  devices.listen({
    desired(device, moduleId) {
      if (moduleId !== "$edgeAgent") return;
      const connection = live.get(device.deviceId);
      if (connection !== undefined) deliver(connection);
    },
    targeting: () => {},
    removed(device) {
      const connection = live.get(device.deviceId);
      if (connection !== undefined) close(connection);
    },
  });

  return {
    register(deviceId, tags = {}) {
      if (devices.get(deviceId) !== undefined) return;
      checkDeviceId(deviceId);
      checkSection(tags as JsonObject, "tags");
      devices.add(deviceId, { iotEdge: true, tags: Object.keys(tags).length === 0 ? EMPTY : (tags as JsonObject) });
    },
    connect(deviceId, handlers): DeviceConnection {
      const device = devices.get(deviceId);
      if (device === undefined) throw deviceNotFound(deviceId);
      const connection: Live = { device, handlers, waiting: false };
      live.set(deviceId, connection);
      device.connected = true;
      device.lastActivityMs = clock.now();
      deliver(connection);
      for (const wake of waiters.get(deviceId) ?? []) wake();
      waiters.delete(deviceId);
      return {
        report(moduleId, patch) {
          // What a closed connection still sends is lost, as on any network.
          if (live.get(deviceId) !== connection) return;
          const entry = devices.module(device, moduleId) ?? devices.addModule(device, moduleId, true);
          if (entry.current === undefined) return;
          device.lastActivityMs = clock.now();
          devices.write(entry, reportTwin(entry.current, patch as JsonObject, clock.now()));
        },
        disconnect: () => close(connection),
      };
    },
    handlersOf: (deviceId) => live.get(deviceId)?.handlers,
    onceConnected(deviceId, callback) {
      const set = waiters.get(deviceId) ?? new Set();
      waiters.set(deviceId, set);
      set.add(callback);
      return () => set.delete(callback);
    },
  };
}
