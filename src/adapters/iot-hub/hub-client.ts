// Opens the vendor's IoT Hub client and makes its calls survive throttling; the one place that knows about endpoints.
import http from "node:http";
import https from "node:https";
import type { TokenCredential } from "@azure/core-auth";
import iothub from "azure-iothub";
import { Http } from "azure-iothub/dist/common-http/http.js";
import { RestApiClient } from "azure-iothub/dist/common-http/rest_api_client.js";
import { SharedAccessSignature } from "azure-iothub/dist/common-core/shared_access_signature.js";
import pRetry, { type Options as RetryOptions } from "p-retry";
import { IotHubError, toIotHubError } from "./iot-hub-error.ts";

const USER_AGENT = "lighter";
const TOKEN_SCOPE = "https://iothubs.azure.net/.default";
const LOOPBACK = /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/;

/** How often and how patiently a throttled or failing call is repeated; the SDK itself never does. */
export type HubRetry = Pick<RetryOptions, "retries" | "minTimeout" | "maxTimeout" | "factor" | "randomize">;

/** About a minute in all: longer than a throttled minute's bucket takes to fill. */
export const DEFAULT_RETRY: HubRetry = { retries: 6, minTimeout: 500, maxTimeout: 30_000, factor: 2, randomize: true };

/** The vendor's registry client, plus what it does not offer: retry, and a bare call for the rest of the REST API. */
export interface HubClient {
  readonly registry: iothub.Registry;
  /** Runs one call of the SDK, repeating it while it is throttled or fails on the service's side. */
  run<T>(operation: string, subject: string, call: () => Promise<T>): Promise<T>;
  /** A REST call that the SDK has no method for; answers the parsed JSON body. */
  post(operation: string, path: string, body: unknown): Promise<unknown>;
}

type Endpoint = ConstructorParameters<typeof RestApiClient>[0];

/** Sends the SDK's requests over plain http to a port of this machine, which its own transport cannot. */
class LoopbackHttp extends Http {
  readonly #port: number;

  constructor(port: number) {
    super();
    this.#port = port;
  }

  override buildRequest(...args: Parameters<Http["buildRequest"]>): ReturnType<Http["buildRequest"]> {
    const [method, path, headers, host] = args;
    const done = args.at(-1) as Parameters<Http["buildRequest"]>[5];
    const options = { port: this.#port, request: http.request } as unknown as Parameters<Http["buildRequest"]>[4];
    return super.buildRequest(method, path, headers, host, options, done);
  }
}

function parseConnection(connection: string): Map<string, string> {
  return new Map(
    connection.split(";").map((part) => {
      const [key = "", ...value] = part.split("=");
      return [key.trim(), value.join("=")];
    }),
  );
}

/**
 * Connects to a hub.
 *
 * `connection` is a connection string, or a bare host name that is then used with `credential`. A loopback host is
 * reached by plain http at its port.
 * @throws IotHubError INVALID_CONNECTION
 */
export function createHubClient(
  connection: string,
  credential: (() => TokenCredential) | undefined,
  retry: HubRetry,
): HubClient {
  const parts = parseConnection(connection);
  const hostName = parts.get("HostName") ?? (connection.includes("=") ? "" : connection);
  const keyName = parts.get("SharedAccessKeyName");
  const key = parts.get("SharedAccessKey");
  if (hostName === "" || (key === undefined && credential === undefined)) {
    throw new IotHubError("INVALID_CONNECTION", {
      operation: "connect to IoT Hub",
      subject: hostName || "(no host)",
      want: "HostName=…;SharedAccessKeyName=…;SharedAccessKey=…, or a host name and an identity",
    });
  }
  const [host = hostName, port] = LOOPBACK.test(hostName) ? hostName.split(/:(?=\d+$)/) : [hostName];
  const endpoint = {
    host,
    sharedAccessSignature:
      key === undefined ? undefined : SharedAccessSignature.create(hostName, keyName ?? "", key, Date.now()),
    tokenCredential: key === undefined ? credential?.() : undefined,
    tokenScope: TOKEN_SCOPE,
  } as unknown as Endpoint;
  const loopback = port === undefined ? undefined : new LoopbackHttp(Number(port));
  const client = new RestApiClient(endpoint, USER_AGENT, loopback);
  const registry = new iothub.Registry(endpoint as iothub.Registry.TransportConfig, client);
  // The registry's constructor has set an https agent, which plain http refuses.
  const agent = loopback === undefined ? new https.Agent({ keepAlive: true }) : new http.Agent({ keepAlive: true });
  client.setOptions({ http: { agent } });

  const run = <T>(operation: string, subject: string, call: () => Promise<T>): Promise<T> =>
    pRetry(
      async () => {
        try {
          return await call();
        } catch (error) {
          throw toIotHubError(operation, subject, error);
        }
      },
      { ...retry, shouldRetry: ({ error }) => error instanceof IotHubError && error.retryable },
    );

  return {
    registry,
    run,
    post: (operation, path, body) =>
      run(
        operation,
        path,
        () =>
          new Promise((resolve, reject) => {
            const headers = { "Content-Type": "application/json; charset=utf-8" };
            const url = `${path}?api-version=2021-04-12`;
            client.executeApiCall("POST", url, headers, body, (error: Error | null | undefined, result: unknown) =>
              error ? reject(error) : resolve(result),
            );
          }),
      ),
  };
}
