// The IoT Hub adapter.
import type { TokenCredential } from "@azure/core-auth";
import type { IotHub } from "../../ports/iot-hub.ts";
import { createHubDeployments } from "./deployments.ts";
import { createHubFleet } from "./fleet.ts";
import { createHubClient, type HubRetry } from "./hub-client.ts";

/** How to reach one hub. */
export interface IotHubOptions {
  readonly name: string;
  /** A connection string, or a host name to be used with `credential`. */
  readonly connection: string;
  readonly credential?: () => TokenCredential;
  readonly retry?: HubRetry;
  /** Pause between bulk operations in ms; the default keeps slot assignment below half of an S1 unit's quota. */
  readonly bulkPauseMs?: number;
}

/** A hub through the vendor's SDK. */
export function createIotHub({ name, connection, credential, retry, bulkPauseMs = 1_200 }: IotHubOptions): IotHub {
  const client = createHubClient(connection, credential, retry);
  return { name, deployments: createHubDeployments(client), fleet: createHubFleet(client, { bulkPauseMs }) };
}
