// Automatic deployments of one IoT hub, through its configurations API.
import type { Configuration } from "azure-iothub/dist/configuration.js";
import type { Deployment } from "../../core/rollout/deployment.ts";
import type { HubDeployment, HubDeployments } from "../../ports/iot-hub.ts";
import type { HubClient } from "./hub-client.ts";
import { IotHubError } from "./iot-hub-error.ts";

function toHubDeployment(configuration: Configuration): HubDeployment {
  const system = configuration.systemMetrics?.results ?? {};
  return {
    id: configuration.id,
    priority: configuration.priority ?? 0,
    targetCondition: configuration.targetCondition ?? "",
    labels: configuration.labels ?? {},
    content: {
      modulesContent: (configuration.content?.modulesContent ?? {}) as Record<string, Record<string, unknown>>,
    },
    etag: configuration.etag ?? "",
    counts: {
      targeted: system["targetedCount"] ?? 0,
      applied: system["appliedCount"] ?? 0,
      metrics: configuration.metrics?.results ?? {},
    },
  };
}

function toConfiguration(deployment: Deployment): Configuration {
  return {
    id: deployment.id,
    schemaVersion: "1.0",
    priority: deployment.priority,
    targetCondition: deployment.targetCondition,
    labels: { ...deployment.labels },
    content: deployment.content,
    metrics: { queries: { ...deployment.metrics.queries } },
  };
}

const isCode = (error: unknown, code: IotHubError["code"]): boolean =>
  error instanceof IotHubError && error.code === code;

/** The deployments of the hub behind `client`. */
export function createHubDeployments({ registry, run }: HubClient): HubDeployments {
  const read = async (id: string): Promise<Configuration | undefined> => {
    try {
      return await run("get configuration", id, async () => (await registry.getConfiguration(id)).responseBody);
    } catch (error) {
      if (isCode(error, "NOT_FOUND")) return undefined;
      throw error;
    }
  };

  return {
    async list() {
      const all = await run(
        "list configurations",
        "all",
        async () => (await registry.getConfigurations()).responseBody,
      );
      return all.map(toHubDeployment);
    },
    async get(id) {
      const configuration = await read(id);
      return configuration && toHubDeployment(configuration);
    },
    async put(deployment) {
      const existing = await read(deployment.id);
      if (existing === undefined) {
        try {
          await run("add configuration", deployment.id, () => registry.addConfiguration(toConfiguration(deployment)));
          return;
        } catch (error) {
          // A repeated call whose first answer was lost.
          if (!isCode(error, "CONFLICT") && !isCode(error, "PRECONDITION_FAILED")) throw error;
        }
      }
      if (existing?.targetCondition === deployment.targetCondition) return;
      const current = existing ?? (await read(deployment.id));
      if (current === undefined) return;
      const widened = { ...current, targetCondition: deployment.targetCondition };
      await run("widen configuration", deployment.id, () => registry.updateConfiguration(widened));
    },
    async remove(id) {
      try {
        await run("remove configuration", id, () => registry.removeConfiguration(id));
      } catch (error) {
        if (!isCode(error, "NOT_FOUND")) throw error;
      }
    },
  };
}
