// The IoT Hub adapter.
import type { TokenCredential } from "@azure/core-auth";
import type { IotHub } from "../../ports/iot-hub.ts";
import { createHubDeployments } from "./deployments.ts";
import { createHubFleet } from "./fleet.ts";
import { createHubClient, DEFAULT_RETRY, type HubRetry } from "./hub-client.ts";

/** How to reach one hub. */
export interface IotHubOptions {
  readonly name: string;
  /** A connection string, or a host name to be used with `credential`. */
  readonly connection: string;
  readonly credential?: () => TokenCredential;
  readonly retry?: HubRetry;
  /** The most devices that are given a slot per second of the hub's clock. */
  readonly devicesPerSecond: number;
  /** How many seconds of the hub's clock pass in a second; pauses are shortened by it. 1 unless given. */
  readonly timeScale?: number;
}

/** A hub through the vendor's SDK. */
export function createIotHub(options: IotHubOptions): IotHub {
  const { name, connection, credential, retry = DEFAULT_RETRY, devicesPerSecond, timeScale = 1 } = options;
  const { minTimeout = 0, maxTimeout = Infinity } = retry;
  const paced = { ...retry, minTimeout: minTimeout / timeScale, maxTimeout: maxTimeout / timeScale };
  const client = createHubClient(connection, credential, paced);
  return {
    name,
    deployments: createHubDeployments(client),
    fleet: createHubFleet(client, { devicesPerSecond, timeScale }),
  };
}
