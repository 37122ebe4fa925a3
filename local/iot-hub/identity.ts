// Device and module identities: how requests become them and how the service shows them, singly and in bulk.
import { createHmac } from "node:crypto";
import type { Device, DeviceStore, TwinEntry } from "./device-store.ts";
import { IotHubError, badRequest, deviceNotFound, preconditionFailed } from "./iot-hub-error.ts";
import { EMPTY, type Json, type JsonObject, isObject } from "./json.ts";
import { checkSection, renderEtag, writeTwin } from "./twin.ts";
import type { Clock } from "../clock.ts";

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

function readText(item: JsonObject, key: string, preset: string): string {
  const text = item[key] ?? preset;
  if (typeof text !== "string") throw badRequest(`${key} must be a string`);
  return text;
}

function isEdge(body: JsonObject): boolean {
  const capabilities = body["capabilities"];
  return isObject(capabilities) && capabilities["iotEdge"] === true;
}

function renewEtag(device: Device): void {
  device.etag = Buffer.from(String(Number(Buffer.from(device.etag, "base64").toString()) + 1_000_003)).toString(
    "base64",
  );
}

function applySettings(devices: DeviceStore, device: Device, body: JsonObject): void {
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

export interface IdentityRegistry {
  /** The device; throws DeviceNotFound. */
  find(deviceId: string): Device;
  /** Creates without If-Match, updates with it. */
  put(deviceId: string, body: JsonObject, ifMatch: string | undefined): Device;
  remove(deviceId: string, ifMatch: string | undefined): void;
  findModule(deviceId: string, moduleId: string): TwinEntry;
  putModule(deviceId: string, moduleId: string, ifMatch: string | undefined): TwinEntry;
  removeModule(deviceId: string, moduleId: string, ifMatch: string | undefined): void;
  /** Carries out up to 100 operations, each by its `importMode`; failures are listed, the others happen. */
  bulk(items: Json): {
    readonly isSuccessful: boolean;
    readonly errors: readonly JsonObject[];
    readonly warnings: readonly JsonObject[];
  };
}

export function createIdentityRegistry(devices: DeviceStore, clock: Clock): IdentityRegistry {
  const find = (deviceId: string): Device => {
    const device = devices.get(deviceId);
    if (device === undefined) throw deviceNotFound(deviceId);
    return device;
  };
  const create = (deviceId: string, body: JsonObject): Device => {
    checkDeviceId(deviceId);
    if (devices.get(deviceId) !== undefined)
      throw new IotHubError(409, "DeviceAlreadyExists", `Device ${deviceId} already exists`);
    const tags = isObject(body["tags"]) ? body["tags"] : EMPTY;
    checkSection(tags, "tags");
    readKeys(body);
    const device = devices.add(deviceId, { iotEdge: isEdge(body), tags });
    applySettings(devices, device, body);
    return device;
  };
  const requireEtag = (ifMatch: string | undefined, etag: string, subject: string): void => {
    if (ifMatch === undefined) throw preconditionFailed(`ETag missing for ${subject}`);
    if (!matches(ifMatch, etag)) throw preconditionFailed(`ETag mismatch for ${subject}`);
  };
  const update = (deviceId: string, body: JsonObject, ifMatch: string): Device => {
    const device = find(deviceId);
    requireEtag(ifMatch, device.etag, `device ${deviceId}`);
    applySettings(devices, device, body);
    renewEtag(device);
    return device;
  };
  const remove = (deviceId: string, ifMatch: string | undefined): void => {
    const device = find(deviceId);
    requireEtag(ifMatch, device.etag, `device ${deviceId}`);
    devices.remove(device);
  };
  const findModule = (deviceId: string, moduleId: string): TwinEntry => {
    const entry = devices.module(find(deviceId), moduleId);
    if (entry === undefined)
      throw new IotHubError(404, "ModuleNotFound", `Module ${moduleId} of device ${deviceId} is not registered`);
    return entry;
  };
  const updateTwin = (deviceId: string, body: JsonObject, ifMatch: string): void => {
    const { twin } = find(deviceId);
    if (twin.current === undefined) throw deviceNotFound(deviceId);
    if (!matches(ifMatch, renderEtag(twin.current.etag)))
      throw preconditionFailed(`ETag mismatch for the twin of ${deviceId}`);
    devices.write(
      twin,
      writeTwin(
        twin.current,
        { tags: body["tags"] ?? null, properties: body["properties"] ?? null },
        "merge",
        clock.now(),
      ),
    );
  };
  const operate = (deviceId: string, item: JsonObject): void => {
    const mode = readText(item, "importMode", "create").toLowerCase();
    const [etag, twinEtag] = [readText(item, "eTag", readText(item, "etag", "")), readText(item, "twinETag", "")];
    switch (mode) {
      case "create":
        create(deviceId, item);
        return;
      case "update":
        update(deviceId, item, "*");
        return;
      case "updateifmatchetag":
        update(deviceId, item, etag);
        return;
      case "createorupdate":
        if (devices.get(deviceId) === undefined) create(deviceId, item);
        else update(deviceId, item, "*");
        return;
      case "delete":
        return remove(deviceId, "*");
      case "deleteifmatchetag":
        return remove(deviceId, etag);
      case "updatetwin":
        return updateTwin(deviceId, item, "*");
      case "updatetwinifmatchetag":
        return updateTwin(deviceId, item, twinEtag);
      default:
        throw badRequest(`importMode ${mode} is not known`);
    }
  };

  return {
    find,
    put: (deviceId, body, ifMatch) =>
      ifMatch === undefined ? create(deviceId, body) : update(deviceId, body, ifMatch),
    remove,
    findModule,
    putModule(deviceId, moduleId, ifMatch) {
      if (ifMatch !== undefined) return findModule(deviceId, moduleId);
      const device = find(deviceId);
      if (moduleId.startsWith("$")) throw badRequest(`Module id ${moduleId} is reserved`);
      if (devices.module(device, moduleId) !== undefined) {
        throw new IotHubError(
          409,
          "ModuleAlreadyExistsOnDevice",
          `Module ${moduleId} of device ${deviceId} already exists`,
        );
      }
      return devices.addModule(device, moduleId);
    },
    removeModule(deviceId, moduleId, ifMatch) {
      const entry = findModule(deviceId, moduleId);
      requireEtag(ifMatch, renderEtag(entry.current?.etag ?? 0), `module ${moduleId} of device ${deviceId}`);
      devices.removeModule(entry);
    },
    bulk(items) {
      if (!Array.isArray(items) || items.length === 0 || items.length > 100)
        throw badRequest("A bulk operation takes 1 to 100 devices");
      const errors: JsonObject[] = [];
      for (const item of items as readonly Json[]) {
        const deviceId = isObject(item) && typeof item["id"] === "string" ? item["id"] : "";
        try {
          if (!isObject(item) || deviceId === "") throw badRequest("id is missing");
          operate(deviceId, item);
        } catch (error) {
          if (!(error instanceof IotHubError)) throw error;
          errors.push({ deviceId, errorCode: error.errorCode, errorStatus: error.text });
        }
      }
      return { isSuccessful: errors.length === 0, errors, warnings: [] };
    },
  };
}
