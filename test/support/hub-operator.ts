// Somebody else who works on the same hub: reads twins and configurations, and meddles, through the vendor's SDK.
import type { Configuration } from "azure-iothub/dist/configuration.js";
import { createHubClient } from "../../src/adapters/iot-hub/hub-client.ts";

/** What a device's agent is told and says about one module. */
interface AgentView {
  /** Counts every change of what the agent is told. */
  readonly version: number;
  readonly desiredImage: string | undefined;
  readonly image: string | undefined;
  readonly status: string | undefined;
}

/** An operator of the hub. */
export interface HubOperator {
  configurations(): Promise<readonly Configuration[]>;
  put(configuration: Configuration): Promise<void>;
  remove(id: string): Promise<void>;
  /** A point read of one device's agent, about one module. */
  agent(deviceId: string, moduleName: string): Promise<AgentView>;
  /** The same of many devices, by device. */
  agents(deviceIds: readonly string[], moduleName: string): Promise<ReadonlyMap<string, AgentView>>;
}

interface Module {
  readonly settings?: { readonly image?: string };
  readonly runtimeStatus?: string;
}

interface AgentTwin {
  readonly properties: {
    readonly desired: { readonly $version: number; readonly modules?: Readonly<Record<string, Module>> };
    readonly reported: { readonly modules?: Readonly<Record<string, Module>> };
  };
}

/** Connects an operator. */
export function createHubOperator(connectionString: string): HubOperator {
  const { registry, run } = createHubClient(connectionString, undefined, { retries: 5, minTimeout: 20 });
  const operator: HubOperator = {
    configurations: () => run("list", "configurations", async () => (await registry.getConfigurations()).responseBody),
    async put(configuration) {
      await registry.addConfiguration(configuration);
    },
    async remove(id) {
      await registry.removeConfiguration(id);
    },
    async agent(deviceId, moduleName) {
      const { responseBody } = await run("read", deviceId, () => registry.getModuleTwin(deviceId, "$edgeAgent"));
      const { desired, reported } = (responseBody as unknown as AgentTwin).properties;
      const module = reported.modules?.[moduleName];
      return {
        version: desired.$version,
        desiredImage: desired.modules?.[moduleName]?.settings?.image,
        image: module?.settings?.image,
        status: module?.runtimeStatus,
      };
    },
    async agents(deviceIds, moduleName) {
      const views = await Promise.all(deviceIds.map((deviceId) => operator.agent(deviceId, moduleName)));
      return new Map(deviceIds.map((deviceId, index) => [deviceId, views[index] as AgentView]));
    },
  };
  return operator;
}
