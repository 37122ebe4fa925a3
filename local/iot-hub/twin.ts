// Twins as values: what one holds, how a patch changes it, what the service refuses, and how it is shown.
import type { Device } from "./device-store.ts";
import { badRequest } from "./iot-hub-error.ts";
import { EMPTY, type Json, type JsonObject, isObject, mergePatch, sizeOf } from "./json.ts";

/** The statuses of the configurations that target a twin, by id; shared between devices. */
export type ConfigurationStatuses = Readonly<Record<string, { readonly status: "Targeted" | "Applied" }>>;

/** One section of properties; `content` has no `$version` and is shared where devices hold the same. */
interface Section {
  readonly content: JsonObject;
  readonly version: number;
  readonly updatedMs: number;
}

/** A twin at one moment; a change makes a new one. */
export interface TwinState {
  readonly device: Device;
  readonly moduleId: string | undefined;
  readonly tags: JsonObject;
  readonly desired: Section;
  readonly reported: Section;
  readonly configurations: ConfigurationStatuses;
  /** Counts writes of tags and desired properties; the etag shows it. */
  readonly etag: number;
  /** Counts every change. */
  readonly version: number;
}

const NO_CONFIGURATIONS: ConfigurationStatuses = Object.freeze({});

const MAX_TAGS_BYTES = 8 * 1024;
const MAX_PROPERTIES_BYTES = 32 * 1024;
const MAX_DEPTH = 10;
const MAX_VALUE_BYTES = 4096;
const MAX_KEY_BYTES = 1024;
const MAX_INTEGER = 2 ** 52 - 1;
// oxlint-disable-next-line no-control-regex -- control characters are what the service refuses in keys
const FORBIDDEN_IN_KEYS = /[\u0000-\u001f\u007f-\u009f.$# ]/;

/** The twin of a new device or module: empty but for its tags, everything at version 1. */
export function createTwin(
  device: Device,
  moduleId: string | undefined,
  nowMs: number,
  tags: JsonObject = EMPTY,
): TwinState {
  const section: Section = { content: EMPTY, version: 1, updatedMs: nowMs };
  return {
    device,
    moduleId,
    tags,
    desired: section,
    reported: section,
    configurations: NO_CONFIGURATIONS,
    etag: 1,
    version: 1,
  };
}

/** The opaque form of an etag: a counter of eight bytes in base64, e.g. `AAAAAAAAAAE=`. */
export function renderEtag(etag: number): string {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(etag));
  return bytes.toString("base64");
}

function checkValue(value: Json, where: string, depth: number): void {
  if (typeof value === "string" && Buffer.byteLength(value) > MAX_VALUE_BYTES) {
    throw badRequest(`Value of ${where} is longer than ${MAX_VALUE_BYTES} bytes`);
  }
  if (typeof value === "number" && Number.isInteger(value) && (value > MAX_INTEGER || value < -MAX_INTEGER - 1)) {
    throw badRequest(`Integer of ${where} is out of range`);
  }
  if (Array.isArray(value)) value.forEach((item: Json, index) => checkValue(item, `${where}[${index}]`, depth + 1));
  if (isObject(value)) checkKeys(value, where, depth + 1);
}

function checkKeys(object: JsonObject, where: string, depth: number): void {
  if (depth > MAX_DEPTH) throw badRequest(`Depth of ${where} exceeds ${MAX_DEPTH}`);
  for (const [key, value] of Object.entries(object)) {
    if (key === "" || FORBIDDEN_IN_KEYS.test(key))
      throw badRequest(`Key '${key}' in ${where} has a character that is not allowed`);
    if (Buffer.byteLength(key) > MAX_KEY_BYTES)
      throw badRequest(`Key in ${where} is longer than ${MAX_KEY_BYTES} bytes`);
    checkValue(value, `${where}.${key}`, depth);
  }
}

/** Throws IotHubError when a section breaks the service's limits of depth, keys, values or total size. */
export function checkSection(section: JsonObject, name: "tags" | "desired" | "reported"): void {
  checkKeys(section, name, 0);
  const limit = name === "tags" ? MAX_TAGS_BYTES : MAX_PROPERTIES_BYTES;
  const size = sizeOf(section);
  if (size > limit) throw badRequest(`Section ${name} of the twin has ${size} bytes and may have ${limit}`);
}

function withContent(section: Section, content: JsonObject, nowMs: number): Section {
  return { content, version: section.version + 1, updatedMs: nowMs };
}

/** The object without the keys that the service itself writes. */
function withoutMetadata(section: JsonObject): JsonObject {
  if (!("$version" in section) && !("$metadata" in section)) return section;
  const { $version: _version, $metadata: _metadata, ...rest } = section;
  return rest;
}

function readSection(body: JsonObject, key: string, where: string): JsonObject | undefined {
  const section = body[key];
  if (section === undefined || section === null) return undefined;
  if (!isObject(section)) throw badRequest(`${where} must be an object`);
  return withoutMetadata(section);
}

/**
 * The twin after a back end's write of tags and desired properties; `mode` merges into them or replaces them.
 * Modules have no tags of their own use, but the service keeps them all the same.
 */
export function writeTwin(twin: TwinState, body: JsonObject, mode: "merge" | "replace", nowMs: number): TwinState {
  const properties = readSection(body, "properties", "properties");
  if (properties?.["reported"] !== undefined && mode === "merge")
    throw badRequest("reported properties cannot be written by the service side");
  const [tagsGiven, desiredGiven] = [
    readSection(body, "tags", "tags"),
    readSection(properties ?? EMPTY, "desired", "properties.desired"),
  ];
  const next = (before: JsonObject, given: JsonObject | undefined): JsonObject => {
    if (mode === "merge") return given === undefined ? before : mergePatch(before, given);
    return mergePatch(EMPTY, given ?? EMPTY);
  };
  const tags = next(twin.tags, tagsGiven);
  const desired = next(twin.desired.content, desiredGiven);
  checkSection(tags, "tags");
  checkSection(desired, "desired");
  const desiredTouched = mode === "replace" || desiredGiven !== undefined;
  return {
    ...twin,
    tags,
    desired: desiredTouched ? withContent(twin.desired, desired, nowMs) : twin.desired,
    etag: twin.etag + 1,
    version: twin.version + 1,
  };
}

/** The twin after the device's own patch of its reported properties. */
export function reportTwin(twin: TwinState, patch: JsonObject, nowMs: number): TwinState {
  const content = mergePatch(twin.reported.content, withoutMetadata(patch));
  checkSection(content, "reported");
  return { ...twin, reported: withContent(twin.reported, content, nowMs), version: twin.version + 1 };
}

/** The twin once deployments gave it other desired properties (unless undefined) and statuses. */
export function deployTwin(
  twin: TwinState,
  desired: JsonObject | undefined,
  configurations: ConfigurationStatuses,
  nowMs: number,
): TwinState {
  const changed = desired !== undefined && desired !== twin.desired.content;
  if (!changed && configurations === twin.configurations) return twin;
  return {
    ...twin,
    desired: changed ? withContent(twin.desired, desired, nowMs) : twin.desired,
    configurations,
    etag: changed ? twin.etag + 1 : twin.etag,
    version: twin.version + 1,
  };
}

function renderSection({ content, version, updatedMs }: Section): JsonObject {
  return { ...content, $metadata: { $lastUpdated: new Date(updatedMs).toISOString() }, $version: version };
}

/** The twin as the service sends it. */
export function renderTwin(twin: TwinState): JsonObject {
  const { device } = twin;
  return {
    deviceId: device.deviceId,
    ...(twin.moduleId === undefined ? {} : { moduleId: twin.moduleId }),
    etag: renderEtag(twin.etag),
    deviceEtag: device.etag,
    status: device.status,
    statusUpdateTime: "0001-01-01T00:00:00Z",
    connectionState: device.connected ? "Connected" : "Disconnected",
    lastActivityTime: new Date(device.lastActivityMs).toISOString(),
    cloudToDeviceMessageCount: 0,
    authenticationType: "sas",
    x509Thumbprint: { primaryThumbprint: null, secondaryThumbprint: null },
    modelId: "",
    version: twin.version,
    tags: twin.tags,
    properties: { desired: renderSection(twin.desired), reported: renderSection(twin.reported) },
    ...(twin.configurations === NO_CONFIGURATIONS ? {} : { configurations: twin.configurations }),
    ...(twin.moduleId === undefined ? { capabilities: { iotEdge: device.iotEdge } } : {}),
  };
}
