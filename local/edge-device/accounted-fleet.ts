// A fleet of accounted devices: any number in one process, nothing pulled, every byte counted.
import type { Clock } from "../clock.ts";
import type { DesiredProperties, DeviceGateway } from "../iot-hub/device-gateway.ts";
import type { Behaviour, BehaviourTable } from "./accounted-behaviour.ts";
import { createSeededBehaviour, digestIn } from "./accounted-behaviour.ts";
import type { DeviceWork, FleetServices } from "./accounted-device.ts";
import { AccountedDevice } from "./accounted-device.ts";
import type { Deployment, DesiredStatus } from "./deployment.ts";
import { parseDeployment } from "./deployment.ts";
import type { AccountedLayer } from "./layer-sets.ts";
import { createLayerSets } from "./layer-sets.ts";
import { createTickQueue } from "./tick-queue.ts";

/** A fleet and what it is made of. */
export interface AccountedFleetOptions {
  readonly gateway: DeviceGateway;
  readonly clock: Clock;
  readonly seed: number;
  readonly count: number;
  /** An image's layers, and whatever else a pull of it moves (manifest, configuration), by digest. Asked once per image; a rejection is a failed pull. */
  readonly layersOf: (image: string) => readonly AccountedLayer[] | Promise<readonly AccountedLayer[]>;
  /** The behaviour, or a table for the seeded one; the default table has its share of trouble. */
  readonly behaviour?: Behaviour | BehaviourTable;
  /** Names of devices; `device-000000` … unless given. */
  readonly deviceId?: (index: number) => string;
  readonly tagsOf?: (deviceId: string) => Readonly<Record<string, unknown>>;
  /** The slot a device is in by now, for behaviours that depend on it; by default read from `tagsOf`. */
  readonly slotOf?: (deviceId: string) => string | undefined;
  /** The grain of time: devices act on multiples of this; 1,000 ms unless given. */
  readonly tickMs?: number;
}

/** What a fleet did and does. */
interface FleetTotals {
  readonly devices: number;
  readonly connected: number;
  readonly bytesPulled: number;
  readonly pulls: number;
  readonly failedPulls: number;
  /** By image reference. */
  readonly bytesByImage: Readonly<Record<string, number>>;
  /** Modules by image reference and then runtime status. */
  readonly modulesByImage: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** Devices by the code of `lastDesiredStatus`. */
  readonly devicesByCode: Readonly<Record<string, number>>;
}

/** A running fleet. */
export interface AccountedFleet {
  readonly deviceIds: readonly string[];
  totals(): FleetTotals;
  /** Changes the table for one image, named by digest or by reference without digest, from the next decision on. */
  changeImage(image: string, changes: Partial<BehaviourTable>): void;
  /** How many things the devices have yet to do; 0 when the fleet has come to rest. */
  readonly pending: number;
  close(): void;
}

/** Registers and connects the devices. Content that they hold is never collected. */
export function createAccountedFleet(options: AccountedFleetOptions): AccountedFleet {
  const { gateway, clock, seed, count, tagsOf, tickMs = 1000 } = options;
  const nameOf = options.deviceId ?? ((index: number) => `device-${String(index).padStart(6, "0")}`);
  const slotOf = options.slotOf ?? ((deviceId: string) => readSlot(tagsOf?.(deviceId)));
  const imageChanges = new Map<string, Partial<BehaviourTable>>();
  const changesFor = (image: string): Partial<BehaviourTable> | undefined =>
    imageChanges.size === 0
      ? undefined
      : (imageChanges.get(digestIn(image)) ?? imageChanges.get(image.split("@")[0] as string));
  const behaviour = toBehaviour(options.behaviour, seed, changesFor);
  const queue = createTickQueue<{ readonly device: AccountedDevice; readonly work: DeviceWork }>(
    clock,
    tickMs,
    (entry) => entry.device.wake(entry.work),
  );
  const bytesByImage = new Map<string, number>();
  const layers = new Map<string, readonly AccountedLayer[] | Promise<readonly AccountedLayer[]>>();
  let pulls = 0;
  let failedPulls = 0;
  let lookups = 0;

  const services: FleetServices = {
    layerSets: createLayerSets(),
    now: () => clock.now(),
    schedule: (delayMs, device, work) => queue.schedule(delayMs, { device, work }),
    parse: createParser(),
    decide: (deviceId, image) => behaviour.decide({ deviceId, slot: slotOf(deviceId), image }),
    connect: (deviceId, handlers) => gateway.connect(deviceId, handlers),
    layersOf(image) {
      const known = layers.get(image);
      if (known !== undefined) return known;
      const found = options.layersOf(image);
      layers.set(image, found);
      if (found instanceof Promise) void settle(image, found);
      return found;
    },
    pulled(image, bytes, ok) {
      if (ok) pulls++;
      else failedPulls++;
      bytesByImage.set(image, (bytesByImage.get(image) ?? 0) + bytes);
    },
  };

  /** Replaces a promise by its value; a look-up that failed is forgotten, so that a retry asks again. */
  async function settle(image: string, found: Promise<readonly AccountedLayer[]>): Promise<void> {
    lookups++;
    try {
      layers.set(image, await found);
    } catch {
      layers.delete(image);
    } finally {
      lookups--;
    }
  }

  const devices: AccountedDevice[] = [];
  for (let index = 0; index < count; index++) {
    const deviceId = nameOf(index);
    gateway.register(deviceId, tagsOf?.(deviceId));
    const device = new AccountedDevice(deviceId, services);
    devices.push(device);
    if (!behaviour.isOfflineForever(deviceId)) device.connect();
  }

  return {
    deviceIds: devices.map(({ deviceId }) => deviceId),
    totals() {
      const modulesByImage: Record<string, Record<string, number>> = {};
      const devicesByCode: Record<string, number> = {};
      for (const { modules, status } of devices) {
        if (status !== undefined) devicesByCode[status.code] = (devicesByCode[status.code] ?? 0) + 1;
        for (const { definition, state } of modules.values()) {
          const byStatus = (modulesByImage[definition.image] ??= {});
          byStatus[state.runtimeStatus] = (byStatus[state.runtimeStatus] ?? 0) + 1;
        }
      }
      return {
        devices: devices.length,
        connected: devices.filter(({ connection }) => connection !== undefined).length,
        bytesPulled: [...bytesByImage.values()].reduce((sum, bytes) => sum + bytes, 0),
        pulls,
        failedPulls,
        bytesByImage: Object.fromEntries(bytesByImage),
        modulesByImage,
        devicesByCode,
      };
    },
    changeImage(image, changes) {
      imageChanges.set(image, { ...imageChanges.get(image), ...changes });
    },
    get pending() {
      return queue.size + lookups;
    },
    close() {
      queue.close();
      for (const { connection } of devices) connection?.disconnect();
    },
  };
}

function toBehaviour(
  given: Behaviour | BehaviourTable | undefined,
  seed: number,
  imageChanges: (image: string) => Partial<BehaviourTable> | undefined,
): Behaviour {
  if (given !== undefined && "decide" in given) return given;
  return createSeededBehaviour({ seed, imageChanges, ...(given && { table: given }) });
}

function readSlot(tags: Readonly<Record<string, unknown>> | undefined): string | undefined {
  const slot = (tags?.["lighter"] as { readonly slot?: unknown } | undefined)?.slot;
  return typeof slot === "string" ? slot : undefined;
}

/** How many different deployments a parser remembers by their text. */
const REMEMBERED = 64;

/** Parses desired properties once per content: devices that are told the same share the deployment. */
function createParser(): (properties: DesiredProperties) => Deployment | DesiredStatus {
  const byObject = new WeakMap<DesiredProperties, Deployment | DesiredStatus>();
  const byText = new Map<string, Deployment | DesiredStatus>();
  return (properties) => {
    const known = byObject.get(properties);
    if (known !== undefined) return known;
    const { $version: _version, $metadata: _metadata, ...content } = properties;
    const text = JSON.stringify(content);
    const parsed = byText.get(text) ?? parseDeployment(properties);
    const [oldest] = byText.keys();
    if (byText.size >= REMEMBERED && oldest !== undefined) byText.delete(oldest);
    byText.set(text, parsed);
    byObject.set(properties, parsed);
    return parsed;
  };
}
