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

/** How often a write is computed anew because the configuration changed under it. */
const MAX_OVERTAKEN = 5;

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
      const { id, targetCondition } = deployment;
      for (let attempt = 1; ; attempt++) {
        const existing = await read(id);
        if (existing?.targetCondition === targetCondition) return;
        try {
          if (existing === undefined) {
            await run("add configuration", id, () => registry.addConfiguration(toConfiguration(deployment)));
          } else {
            const widened = { ...existing, targetCondition };
            await run("widen configuration", id, () => registry.updateConfiguration(widened));
          }
          return;
        } catch (error) {
          // Somebody was faster, or the answer to our own call was lost and its repetition met its result: look again.
          const overtaken = isCode(error, "CONFLICT") || isCode(error, "PRECONDITION_FAILED");
          if (!overtaken || attempt === MAX_OVERTAKEN) throw error;
        }
      }
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
