// Device and module identities: what the service takes as one, and how it shows them.
import { createHmac } from "node:crypto";
import type { Device, TwinEntry } from "./device-store.ts";
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

/** The symmetric keys in an identity, if it brings any; throws for one key without the other. */
function readKeys(body: JsonObject): Device["keys"] {
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

/** A text in a bulk item, or the preset where it is missing. */
export function readText(item: JsonObject, key: string, preset: string): string {
  const text = item[key] ?? preset;
  if (typeof text !== "string") throw badRequest(`${key} must be a string`);
  return text;
}

/** Whether an identity asks to be an IoT Edge device. */
function isEdge(body: JsonObject): boolean {
  const capabilities = body["capabilities"];
  return isObject(capabilities) && capabilities["iotEdge"] === true;
}

/** Gives the device another etag, as every change of an identity does. */
export function renewEtag(device: Device): void {
  device.etag = Buffer.from(String(Number(Buffer.from(device.etag, "base64").toString()) + 1_000_003)).toString(
    "base64",
  );
}

/** What an identity's caller decides. */
export interface IdentitySettings {
  readonly status: Device["status"];
  readonly keys: Device["keys"];
  readonly iotEdge: boolean;
}

/** Reads an identity's body; throws ArgumentInvalid. */
export function readSettings(body: JsonObject): IdentitySettings {
  const status = body["status"] ?? "enabled";
  if (status !== "enabled" && status !== "disabled") {
    throw badRequest(`status ${JSON.stringify(status)} is not enabled or disabled`);
  }
  return { status, keys: readKeys(body), iotEdge: isEdge(body) };
}

/** The device identity as the service sends it. */
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

/** The module identity as the service sends it. */
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
