// Device and module identities: what the service takes as one, and how it shows them.
import { createHmac } from "node:crypto";
import type { Device, DeviceStore, TwinEntry } from "./device-store.ts";
import { badRequest } from "./iot-hub-error.ts";
import { type JsonObject, isObject } from "./json.ts";
import { renderEtag } from "./twin.ts";

const DEVICE_ID = /^[A-Za-z0-9\-:.+%_#*?!(),=@;$']{1,128}$/;

/** Throws for an id outside the service's grammar. */
export function checkDeviceId(deviceId: string): void {
  if (!DEVICE_ID.test(deviceId))
    throw badRequest(`Device id '${deviceId}' must be 1 to 128 letters, digits and -:.+%_#*?!(),=@;$'`);
}

/** Keys that need no memory: each identity's own, the same whenever asked. */
function deriveKey(...parts: readonly string[]): string {
  return createHmac("sha256", "identity").update(parts.join("\0")).digest("base64");
}

export function readKeys(body: JsonObject): Device["keys"] {
  const authentication = body["authentication"];
  const symmetric = isObject(authentication) ? authentication["symmetricKey"] : undefined;
  if (!isObject(symmetric)) return undefined;
  const [primary, secondary] = [symmetric["primaryKey"] ?? "", symmetric["secondaryKey"] ?? ""];
  if (primary === "" && secondary === "") return undefined;
  if (typeof primary !== "string" || typeof secondary !== "string" || primary === "" || secondary === "") {
    throw badRequest("Either no keys or both keys can be set");
  }
  return { primary, secondary };
}

export function readText(item: JsonObject, key: string, preset: string): string {
  const text = item[key] ?? preset;
  if (typeof text !== "string") throw badRequest(`${key} must be a string`);
  return text;
}

export function isEdge(body: JsonObject): boolean {
  const capabilities = body["capabilities"];
  return isObject(capabilities) && capabilities["iotEdge"] === true;
}

export function renewEtag(device: Device): void {
  device.etag = Buffer.from(String(Number(Buffer.from(device.etag, "base64").toString()) + 1_000_003)).toString(
    "base64",
  );
}

export function applySettings(devices: DeviceStore, device: Device, body: JsonObject): void {
  const status = body["status"] ?? "enabled";
  if (status !== "enabled" && status !== "disabled")
    throw badRequest(`status ${JSON.stringify(status)} is not enabled or disabled`);
  const keys = readKeys(body);
  device.status = status;
  device.keys = keys;
  if (isEdge(body) && !device.iotEdge) devices.makeEdge(device);
}

export function renderDevice(device: Device): JsonObject {
  const { deviceId, generationId, etag, status, keys } = device;
  return {
    deviceId,
    generationId,
    etag,
    connectionState: device.connected ? "Connected" : "Disconnected",
    status,
    statusReason: null,
    connectionStateUpdatedTime: new Date(device.lastActivityMs).toISOString(),
    statusUpdatedTime: "0001-01-01T00:00:00Z",
    lastActivityTime: new Date(device.lastActivityMs).toISOString(),
    cloudToDeviceMessageCount: 0,
    authentication: {
      type: "sas",
      symmetricKey: {
        primaryKey: keys?.primary ?? deriveKey(deviceId, generationId, "primary"),
        secondaryKey: keys?.secondary ?? deriveKey(deviceId, generationId, "secondary"),
      },
      x509Thumbprint: { primaryThumbprint: null, secondaryThumbprint: null },
    },
    capabilities: { iotEdge: device.iotEdge },
    ...(device.iotEdge ? { deviceScope: `ms-azure-iot-edge://${deviceId}-${generationId}` } : {}),
  };
}

export function renderModule({ device, moduleId, current }: TwinEntry): JsonObject {
  const managed = moduleId?.startsWith("$") === true;
  return {
    deviceId: device.deviceId,
    moduleId: moduleId ?? null,
    managedBy: managed ? "iotEdge" : null,
    generationId: device.generationId,
    etag: renderEtag(current?.etag ?? 1),
    connectionState: device.connected ? "Connected" : "Disconnected",
    connectionStateUpdatedTime: new Date(device.lastActivityMs).toISOString(),
    lastActivityTime: new Date(device.lastActivityMs).toISOString(),
    cloudToDeviceMessageCount: 0,
    authentication: {
      type: "sas",
      symmetricKey: {
        primaryKey: deriveKey(device.deviceId, moduleId ?? "", "primary"),
        secondaryKey: deriveKey(device.deviceId, moduleId ?? "", "secondary"),
      },
      x509Thumbprint: { primaryThumbprint: null, secondaryThumbprint: null },
    },
  };
}

/** Whether an If-Match header fits an etag; `*` fits any, quotes may be missing. */
export function matches(ifMatch: string, etag: string): boolean {
  const bare = ifMatch.replace(/^"(.*)"$/, "$1");
  return bare === "*" || bare === etag;
}
