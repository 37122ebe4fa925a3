// The few calls by which the stack itself prepares its hub, as an operator's script would: signed REST.
import { createHmac } from "node:crypto";
import { LighterError } from "../src/core/errors.ts";

const API_VERSION = "2021-04-12";
const TOKEN_SECONDS = 3_600;

/** Signs a shared access token for the host of a connection string. */
function signToken(connectionString: string): { host: string; token: string } {
  const part = (name: string): string => new RegExp(`${name}=([^;]*)`).exec(connectionString)?.[1] ?? "";
  const host = part("HostName");
  const expiry = Math.floor(Date.now() / 1_000) + TOKEN_SECONDS;
  const resource = encodeURIComponent(host);
  const key = Buffer.from(part("SharedAccessKey"), "base64");
  const signature = createHmac("sha256", key).update(`${resource}\n${expiry}`).digest("base64");
  const fields = { sr: resource, sig: encodeURIComponent(signature), se: expiry, skn: part("SharedAccessKeyName") };
  const text = Object.entries(fields).map(([name, value]) => `${name}=${value}`);
  return { host, token: `SharedAccessSignature ${text.join("&")}` };
}

/**
 * Creates the base deployment of every IoT Edge device: the two system modules and nothing else.
 * @throws LighterError HUB_REFUSED
 */
export async function putBaseDeployment(connectionString: string): Promise<void> {
  const { host, token } = signToken(connectionString);
  const image = (name: string): object => ({ image: `mcr.microsoft.com/${name}:1.5`, createOptions: "{}" });
  const configuration = {
    id: "base",
    schemaVersion: "1.0",
    priority: 1,
    targetCondition: "*",
    labels: {},
    content: {
      modulesContent: {
        $edgeAgent: {
          "properties.desired": {
            schemaVersion: "1.1",
            runtime: { type: "docker", settings: { minDockerVersion: "v1.25" } },
            systemModules: {
              edgeAgent: { type: "docker", settings: image("azureiotedge-agent") },
              edgeHub: {
                type: "docker",
                status: "running",
                restartPolicy: "always",
                settings: image("azureiotedge-hub"),
              },
            },
            modules: {},
          },
        },
        $edgeHub: {
          "properties.desired": {
            schemaVersion: "1.1",
            routes: {},
            storeAndForwardConfiguration: { timeToLiveSecs: 7_200 },
          },
        },
      },
    },
  };
  const response = await fetch(`http://${host}/configurations/base?api-version=${API_VERSION}`, {
    method: "PUT",
    headers: { authorization: token, "content-type": "application/json; charset=utf-8" },
    body: JSON.stringify(configuration),
  });
  if (response.ok) return;
  throw new LighterError("HUB_REFUSED", {
    operation: "create base deployment",
    subject: host,
    got: `${response.status} ${await response.text()}`,
    want: "200",
  });
}
