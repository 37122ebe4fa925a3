// The stack as a developer keeps it running: one product, a few devices that really pull, fixed or free ports.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { LighterError } from "../src/core/errors.ts";
import { createEdgeDevice, type EdgeDevice } from "./edge-device/edge-device.ts";
import { createStack, HUB_NAME, type StackOptions } from "./stack.ts";

/** How to bring it up. */
export interface UpOptions {
  readonly folder: string;
  readonly timeScale: number;
  readonly devices: number;
  readonly ports: NonNullable<StackOptions["ports"]>;
}

/** What somebody who wants to use it has to know. */
export interface UpFacts {
  readonly api: string;
  readonly key: string;
  readonly registry: string;
  readonly repository: string;
  readonly product: string;
  readonly hubConnectionString: string;
  readonly devices: readonly string[];
  readonly folder: string;
}

const REPOSITORY = "fleet/app";
const PRODUCT = "app";

/** Starts the stack and its devices. */
export async function startUp({ folder, timeScale, devices: count, ports }: UpOptions): Promise<{
  readonly facts: UpFacts;
  close(): Promise<void>;
}> {
  if (existsSync(join(folder, "storage"))) {
    throw new LighterError("FOLDER_USED", {
      operation: "bring up the stack",
      subject: folder,
      got: "the data of an earlier run, whose hub is gone",
      want: "an empty or a new folder",
    });
  }
  const stack = await createStack({
    folder,
    timeScale,
    ports,
    products: (registry) => [
      {
        name: PRODUCT,
        registry,
        repository: REPOSITORY,
        platform: `linux/${process.arch === "x64" ? "amd64" : process.arch}`,
        module: { name: PRODUCT },
        rollout: { hubs: [HUB_NAME] },
      },
    ],
  });
  const names = Array.from({ length: count }, (_device, index) => `device-${index + 1}`);
  const devices: EdgeDevice[] = names.map((deviceId) =>
    createEdgeDevice({
      deviceId,
      gateway: stack.hub.devices,
      clock: stack.clock,
      folder: join(folder, "devices", deviceId),
    }),
  );
  return {
    facts: {
      api: `${stack.host.url}/api`,
      key: stack.host.key,
      registry: stack.registry.host,
      repository: REPOSITORY,
      product: PRODUCT,
      hubConnectionString: stack.hub.connectionString,
      devices: names,
      folder,
    },
    async close() {
      await Promise.all(devices.map((device) => device.close()));
      await stack.close();
    },
  };
}
