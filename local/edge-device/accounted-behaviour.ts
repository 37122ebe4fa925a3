// How accounted devices misbehave: rates in a table, overridden by slot and by image, drawn from a seed.

/** What may go wrong on a device and how often; a rate is the share of devices, 0 to 1. */
export interface BehaviourTable {
  /** Never seen again, or rather never at all: decided per device, whatever the image. */
  readonly offlineForever: number;
  /** Away for a while when a new image comes. */
  readonly offline: { readonly rate: number; readonly minMs: number; readonly maxMs: number };
  /** A usual link; each device has between half and one and a half times as much. */
  readonly bytesPerSecond: number;
  readonly slowLink: { readonly rate: number; readonly bytesPerSecond: number };
  /** Pulls that fail this many times before they succeed. */
  readonly failingPull: { readonly rate: number; readonly attempts: number };
  /** Modules that exit with code 1 this long after each start. */
  readonly crashLoop: { readonly rate: number; readonly afterMs: number };
  /** Reports of a finished deployment that come late. */
  readonly slowReport: { readonly rate: number; readonly delayMs: number };
  /** From the end of the pull to the running module. */
  readonly startMs: number;
}

/** What one device does with one image. */
export interface DeviceBehaviour {
  /** Infinity for a device that does not come back. */
  readonly offlineMs: number;
  readonly bytesPerSecond: number;
  readonly failedPulls: number;
  /** When the module exits after each start, or undefined when it runs on. */
  readonly crashAfterMs: number | undefined;
  readonly reportDelayMs: number;
  readonly startMs: number;
}

/** What a behaviour may depend on. */
interface DeviceTraits {
  readonly deviceId: string;
  /** `tags.lighter.slot` of the device, as far as it is known. */
  readonly slot: string | undefined;
  /** The image as desired, e.g. `host/app:iot-2@sha256:…`. */
  readonly image: string;
}

/** Decides; must give the same answer for the same traits. */
export interface Behaviour {
  decide(traits: DeviceTraits): DeviceBehaviour;
  isOfflineForever(deviceId: string): boolean;
}

/** Rates of a fleet on mobile links that has its share of trouble. */
export const DEFAULT_BEHAVIOUR: BehaviourTable = {
  offlineForever: 0.002,
  offline: { rate: 0.01, minMs: 300_000, maxMs: 7_200_000 },
  bytesPerSecond: 250_000,
  slowLink: { rate: 0.02, bytesPerSecond: 8_000 },
  failingPull: { rate: 0.005, attempts: 2 },
  crashLoop: { rate: 0, afterMs: 5_000 },
  slowReport: { rate: 0.01, delayMs: 60_000 },
  startMs: 2_000,
};

/** A table without any trouble: every device is there, equally fast, and runs what it is told. */
export const CALM_BEHAVIOUR: BehaviourTable = {
  ...DEFAULT_BEHAVIOUR,
  offlineForever: 0,
  offline: { rate: 0, minMs: 0, maxMs: 0 },
  slowLink: { rate: 0, bytesPerSecond: 1 },
  failingPull: { rate: 0, attempts: 0 },
  slowReport: { rate: 0, delayMs: 0 },
};

/** A seeded behaviour. */
export interface SeededBehaviourOptions {
  readonly seed: number;
  readonly table?: BehaviourTable;
  /** Changes to the table for the devices of a slot. */
  readonly slots?: Readonly<Record<string, Partial<BehaviourTable>>>;
  /** Changes to the table for an image, e.g. the one that crashes; asked at every decision, stronger than the slot's. */
  readonly imageChanges?: (image: string) => Partial<BehaviourTable> | undefined;
}

/** A number in [0, 1) that is a pure function of its key (FNV-1a and the finisher of MurmurHash3). */
function draw(key: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < key.length; index++) {
    hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}

/** Creates the behaviour; the image's digest, not its tag, feeds the draws. */
export function createSeededBehaviour(options: SeededBehaviourOptions): Behaviour {
  const { seed, table = DEFAULT_BEHAVIOUR, slots = {}, imageChanges } = options;
  return {
    isOfflineForever: (deviceId) => draw(`${seed}|${deviceId}|forever`) < table.offlineForever,
    decide({ deviceId, slot = "", image }) {
      const rates = { ...table, ...slots[slot], ...imageChanges?.(image) };
      const key = `${seed}|${slot}|${deviceId}|${digestIn(image)}|`;
      const { offline } = rates;
      const away = draw(`${key}offline`) < offline.rate;
      const usual = rates.bytesPerSecond * (0.5 + draw(`${seed}|${deviceId}|link`));
      const slow = draw(`${seed}|${deviceId}|slow`) < rates.slowLink.rate;
      return {
        offlineMs: away ? offline.minMs + draw(`${key}away`) * (offline.maxMs - offline.minMs) : 0,
        bytesPerSecond: slow ? rates.slowLink.bytesPerSecond : usual,
        failedPulls: draw(`${key}pull`) < rates.failingPull.rate ? rates.failingPull.attempts : 0,
        crashAfterMs: draw(`${key}crash`) < rates.crashLoop.rate ? rates.crashLoop.afterMs : undefined,
        reportDelayMs: draw(`${key}report`) < rates.slowReport.rate ? rates.slowReport.delayMs : 0,
        startMs: rates.startMs,
      };
    },
  };
}

/** The digest of a reference, or the whole reference when it has none. */
export function digestIn(image: string): string {
  return image.slice(image.indexOf("@") + 1);
}
