// Where a registry's ACR Tasks are and as whom to ask them, from settings as processes have them.
import type { TokenCredential } from "@azure/core-auth";
import { AcrTasksError } from "./acr-tasks-error.ts";
import { isLoopback } from "./arm-http.ts";
import type { AcrTasksClientOptions } from "./client.ts";

/** Settings by name, e.g. `process.env`. */
export type TaskSettings = Readonly<Record<string, string | undefined>>;

/** Lives as long as any process that would use it. */
const LOCAL_TOKEN_MS = 365 * 24 * 60 * 60 * 1_000;

/**
 * Reads `ACR_TASKS_SUBSCRIPTION_ID`, `ACR_TASKS_RESOURCE_GROUP`, `ACR_TASKS_REGISTRY` and, for other clouds or a service
 * on this machine, `ACR_TASKS_ENDPOINT`.
 *
 * The identity is `DefaultAzureCredential`, loaded on first use; on this machine, where tokens would travel in plain
 * text, it is `ACR_TASKS_TOKEN` or a word that means nothing anywhere else.
 * @throws AcrTasksError SETTING_INVALID naming what is missing
 */
export function readTaskSettings(settings: TaskSettings): AcrTasksClientOptions {
  const need = (name: string): string => {
    const value = settings[name];
    if (value) return value;
    throw new AcrTasksError("SETTING_INVALID", { operation: "read setting", subject: name, got: "nothing" });
  };
  const endpoint = settings["ACR_TASKS_ENDPOINT"];
  const isLocal = endpoint !== undefined && isLoopback(URL.parse(endpoint)?.hostname ?? "");
  return {
    subscriptionId: need("ACR_TASKS_SUBSCRIPTION_ID"),
    resourceGroup: need("ACR_TASKS_RESOURCE_GROUP"),
    registryName: need("ACR_TASKS_REGISTRY"),
    ...(endpoint ? { endpoint } : {}),
    credential: isLocal ? async () => localCredential(settings["ACR_TASKS_TOKEN"] ?? "local") : loadDefaultCredential,
  };
}

function localCredential(token: string): TokenCredential {
  return { getToken: async () => ({ token, expiresOnTimestamp: Date.now() + LOCAL_TOKEN_MS }) };
}

async function loadDefaultCredential(): Promise<TokenCredential> {
  const { DefaultAzureCredential } = await import("@azure/identity");
  return new DefaultAzureCredential();
}
