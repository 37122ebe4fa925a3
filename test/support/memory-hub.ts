// An IoT hub in memory whose evaluation is immediate: every device does at once what its highest deployment says.
import type { Deployment } from "../../src/core/rollout/deployment.ts";
import type { HubDeployment, IotHub, ReportedModule } from "../../src/ports/iot-hub.ts";

/** A hub that a test may look into and put back. */
export interface MemoryHub extends IotHub {
  readonly devices: Map<string, { slot?: string }>;
  readonly held: Map<string, Deployment>;
  /** Whether a device runs an image or crashes on it. */
  health: (image: string) => "running" | "failed";
}

const SLOT = /tags\.lighter\.slot='(\d\d)'/g;

/** Creates a hub with devices that have no slot yet; one call gives at most `slotsPerCall` of them. */
export function createMemoryHub(name: string, deviceIds: readonly string[], slotsPerCall: number): MemoryHub {
  const devices: MemoryHub["devices"] = new Map(deviceIds.map((id) => [id, {}]));
  const held: MemoryHub["held"] = new Map();

  const devicesIn = (condition: string): string[] => {
    const slots = new Set([...condition.matchAll(SLOT)].map(([, slot]) => slot));
    return [...devices].filter(([, { slot }]) => slot !== undefined && slots.has(slot)).map(([id]) => id);
  };

  function moduleOf({ content }: Deployment, moduleName?: string): { settings: { image: string }; status: string } {
    const agent = content.modulesContent["$edgeAgent"] ?? {};
    const key = moduleName === undefined ? Object.keys(agent)[0] : `properties.desired.modules.${moduleName}`;
    return agent[key ?? ""] as { settings: { image: string }; status: string };
  }

  function topOf(deviceId: string): Deployment | undefined {
    return [...held.values()]
      .filter(({ targetCondition }) => devicesIn(targetCondition).includes(deviceId))
      .sort((a, b) => b.priority - a.priority)[0];
  }

  function report(deviceId: string, moduleName?: string): ReportedModule | undefined {
    const top = topOf(deviceId);
    if (top === undefined) return undefined;
    const { settings, status } = moduleOf(top, moduleName);
    return { image: settings.image, runtimeStatus: status === "stopped" ? "stopped" : hub.health(settings.image) };
  }

  function view(deployment: Deployment): HubDeployment {
    const targeted = devicesIn(deployment.targetCondition);
    const applied = targeted.filter((id) => topOf(id) === deployment);
    const failed = applied.filter((id) => report(id)?.runtimeStatus === "failed").length;
    const counts = {
      targeted: targeted.length,
      applied: applied.length,
      metrics: { running: applied.length - failed, failed },
    };
    return { ...structuredClone(deployment), etag: "*", counts };
  }

  const hub: MemoryHub = {
    name,
    devices,
    held,
    health: () => "running",
    deployments: {
      list: async () => [...held.values()].map(view),
      get: async (id) => {
        const found = held.get(id);
        return found && view(found);
      },
      async put(deployment) {
        const { targetCondition, ...fixed } = structuredClone(deployment);
        const known = held.get(deployment.id);
        if (known !== undefined) {
          const { targetCondition: _before, ...before } = known;
          // As the service: the content of a configuration, once made, cannot be changed; this fake holds all but the target.
          if (JSON.stringify(before) !== JSON.stringify(fixed)) throw new Error(`${deployment.id} must not change`);
        }
        held.set(deployment.id, { ...fixed, targetCondition });
      },
      remove: async (id) => void held.delete(id),
    },
    fleet: {
      countDevices: async (condition) => devicesIn(condition).length,
      findDevices: async (condition, limit) => devicesIn(condition).slice(0, limit),
      readModule: async (deviceId, moduleName) => report(deviceId, moduleName),
      async assignSlots(slotOf) {
        const without = [...devices].filter(([, { slot }]) => slot === undefined).slice(0, slotsPerCall);
        for (const [id] of without) devices.set(id, { slot: slotOf(id) });
        return { assigned: without.length, ...(without.length < slotsPerCall ? {} : { continuation: "more" }) };
      },
    },
  };
  return hub;
}
