// A small hub for the device's tests: holds desired and reported properties of `$edgeAgent`, and remembers every report.
import type {
  DesiredProperties,
  DeviceConnection,
  DeviceGateway,
  DeviceHandlers,
} from "../../../local/iot-hub/device-gateway.ts";

/** One report as it arrived and the reported properties after it. */
interface Report {
  readonly patch: Readonly<Record<string, unknown>>;
  readonly after: Readonly<Record<string, unknown>>;
}

/** A gateway that a test plays the cloud through. */
export interface TestGateway extends DeviceGateway {
  /** Sets the desired properties of a device; the version goes up by one. */
  desire(deviceId: string, content: Readonly<Record<string, unknown>>): number;
  reports(deviceId: string): readonly Report[];
  reported(deviceId: string): Readonly<Record<string, unknown>>;
  /** Resolves with the reported properties once they satisfy `holds`. */
  waitFor(
    deviceId: string,
    holds: (after: Readonly<Record<string, unknown>>) => boolean,
  ): Promise<Readonly<Record<string, unknown>>>;
  call(deviceId: string, name: string, payload?: unknown): Promise<{ status: number; payload: unknown }>;
  readonly connected: number;
  /** Set to make every report fail. */
  refuse: Error | undefined;
}

interface Twin {
  desired: DesiredProperties;
  reports: Report[];
  handlers: DeviceHandlers | undefined;
  waiting: Set<() => void>;
}

/** Creates a gateway without devices. */
export function createTestGateway(): TestGateway {
  const twins = new Map<string, Twin>();
  const get = (deviceId: string): Twin => {
    const twin = twins.get(deviceId);
    if (twin === undefined) throw new Error(`no device ${deviceId}`);
    return twin;
  };
  const gateway: TestGateway = {
    refuse: undefined,
    register(deviceId) {
      if (!twins.has(deviceId)) {
        twins.set(deviceId, { desired: { $version: 1 }, reports: [], handlers: undefined, waiting: new Set() });
      }
    },
    connect(deviceId, handlers): DeviceConnection {
      const twin = get(deviceId);
      twin.handlers = handlers;
      handlers.desired(twin.desired);
      return {
        report(_moduleId, patch) {
          if (gateway.refuse !== undefined) throw gateway.refuse;
          twin.reports.push({ patch, after: merge(twin.reports.at(-1)?.after ?? {}, patch) });
          for (const check of twin.waiting) check();
        },
        disconnect() {
          twin.handlers = undefined;
        },
      };
    },
    desire(deviceId, content) {
      const twin = get(deviceId);
      twin.desired = { ...content, $version: twin.desired.$version + 1 };
      twin.handlers?.desired(twin.desired);
      return twin.desired.$version;
    },
    reports: (deviceId) => get(deviceId).reports,
    reported: (deviceId) => get(deviceId).reports.at(-1)?.after ?? {},
    waitFor: (deviceId, holds) =>
      new Promise((resolve) => {
        const twin = get(deviceId);
        const check = (): void => {
          const after = twin.reports.at(-1)?.after ?? {};
          if (!holds(after)) return;
          twin.waiting.delete(check);
          resolve(after);
        };
        twin.waiting.add(check);
        check();
      }),
    async call(deviceId, name, payload) {
      const answer = await get(deviceId).handlers?.method?.("$edgeAgent", name, payload);
      if (answer === undefined) throw new Error(`device ${deviceId} is not connected`);
      return answer;
    },
    get connected() {
      return [...twins.values()].filter(({ handlers }) => handlers !== undefined).length;
    },
  };
  return gateway;
}

/** JSON merge patch (RFC 7396). */
function merge(target: unknown, patch: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const result: Record<string, unknown> =
    typeof target === "object" && target !== null ? { ...(target as Record<string, unknown>) } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else if (typeof value === "object" && !Array.isArray(value)) {
      result[key] = merge(result[key], value as Record<string, unknown>);
    } else result[key] = value;
  }
  return result;
}
