// The registry of identities: created, updated and deleted singly or in bulk.
import type { Device, DeviceStore, TwinEntry } from "./device-store.ts";
import { IotHubError, badRequest, deviceNotFound, preconditionFailed } from "./iot-hub-error.ts";
import { EMPTY, type Json, type JsonObject, isObject } from "./json.ts";
import { checkSection, renderEtag, writeTwin } from "./twin.ts";
import type { Clock } from "../clock.ts";
import { checkDeviceId, matches, readSettings, readText, renewEtag } from "./identity.ts";

/** Devices and modules as the identity calls see them; refusals are IotHubErrors. */
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

/** Creates the registry over the devices of a store. */
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
    const { iotEdge, ...settings } = readSettings(body);
    return Object.assign(devices.add(deviceId, { iotEdge, tags }), settings);
  };
  const requireEtag = (ifMatch: string | undefined, etag: string, subject: string): void => {
    if (ifMatch === undefined) throw preconditionFailed(`ETag missing for ${subject}`);
    if (!matches(ifMatch, etag)) throw preconditionFailed(`ETag mismatch for ${subject}`);
  };
  const update = (deviceId: string, body: JsonObject, ifMatch: string): Device => {
    const device = find(deviceId);
    requireEtag(ifMatch, device.etag, `device ${deviceId}`);
    const { iotEdge, ...settings } = readSettings(body);
    if (iotEdge && !device.iotEdge) devices.makeEdge(device);
    renewEtag(device);
    return Object.assign(device, settings);
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
