// Points the vendor's SDK at an embedded hub, and offers the fixtures its tests share.
import { request } from "node:http";
import iothub from "azure-iothub";
import { Http } from "azure-iothub/dist/common-http/http.js";
import { RestApiClient } from "azure-iothub/dist/common-http/rest_api_client.js";
import { afterEach } from "vitest";
import { type SteppedClock, createSteppedClock } from "../../../local/clock.ts";
import { type IotHub, type IotHubOptions, createIotHub } from "../../../local/iot-hub/iot-hub.ts";

export const START_MS: number = Date.parse("2026-01-05T08:00:00Z");
export const MINUTE_MS = 60_000;

/** The SDK's http builder, speaking plain http to one port. */
function createHttp(port: number): Http {
  const http = new Http();
  const build = http.buildRequest.bind(http);
  http.setOptions = () => {};
  http.buildRequest = (method, path, headers, host, done) => {
    if (typeof done !== "function") throw new TypeError("no request options are expected");
    return build(method, path, headers, host, { port, request }, done);
  };
  return http;
}

export interface Sdk {
  readonly registry: iothub.Registry;
  readonly jobs: iothub.JobClient;
  readonly client: iothub.Client;
}

/** SDK clients for a connection string whose HostName carries the port. */
export function connectSdk(connectionString: string, expiresAt: number = Math.ceil(Date.now() / 1_000) + 3_600): Sdk {
  const fields = new Map(
    connectionString
      .split(";")
      .map((field) => [field.slice(0, field.indexOf("=")), field.slice(field.indexOf("=") + 1)]),
  );
  const [host = "", port = ""] = (fields.get("HostName") ?? "").split(":");
  const signature = iothub.SharedAccessSignature.create(
    host,
    fields.get("SharedAccessKeyName") ?? "",
    fields.get("SharedAccessKey") ?? "",
    expiresAt,
  );
  const config = { host, sharedAccessSignature: signature.toString() };
  const rest = new RestApiClient(config, "test", createHttp(Number(port)));
  return {
    registry: new iothub.Registry(config, rest),
    jobs: new iothub.JobClient(rest),
    client: new iothub.Client({ on: () => {} } as never, rest),
  };
}

export interface Fixture extends Sdk {
  readonly hub: IotHub;
  readonly clock: SteppedClock;
}

const open: IotHub[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((hub) => hub.close()));
});

/** A hub under a stepped clock with clients; closed after the test. Throttles are off unless asked for. */
export async function startHub(options: Partial<IotHubOptions> = {}): Promise<Fixture> {
  const clock = createSteppedClock(START_MS);
  const hub = await createIotHub({ clock, unlimited: true, ...options });
  open.push(hub);
  return { hub, clock, ...connectSdk(hub.connectionString) };
}

/** A REST call that the SDK has no method for; the hub must accept bearer tokens. */
export async function callRest(
  hub: IotHub,
  method: string,
  path: string,
  body?: string | object,
): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`${hub.url}${path}${path.includes("?") ? "" : "?api-version=2021-04-12"}`, {
    method,
    headers: { authorization: "Bearer good" },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === "" ? undefined : JSON.parse(text) };
}

/** A module as deployments describe it. */
export function moduleOf(image: string): Record<string, unknown> {
  return {
    type: "docker",
    status: "running",
    restartPolicy: "always",
    version: "1.0",
    settings: { image, createOptions: "{}" },
  };
}

/** A whole deployment with the given modules. */
export function baseContent(modules: Record<string, unknown> = {}): Record<string, unknown> {
  const system = (image: string): unknown => ({ type: "docker", settings: { image, createOptions: "{}" } });
  return {
    modulesContent: {
      $edgeAgent: {
        "properties.desired": {
          schemaVersion: "1.1",
          runtime: { type: "docker", settings: { minDockerVersion: "v1.25" } },
          systemModules: {
            edgeAgent: system("mcr.microsoft.com/azureiotedge-agent:1.5"),
            edgeHub: { ...moduleOf("mcr.microsoft.com/azureiotedge-hub:1.5") },
          },
          modules,
        },
      },
      $edgeHub: {
        "properties.desired": {
          schemaVersion: "1.2",
          routes: { upstream: "FROM /messages/* INTO $upstream" },
          storeAndForwardConfiguration: { timeToLiveSecs: 7200 },
        },
      },
    },
  };
}

/** A layered deployment of one module. */
export function layerContent(name: string, image: string): Record<string, unknown> {
  return { modulesContent: { $edgeAgent: { [`properties.desired.modules.${name}`]: moduleOf(image) } } };
}
