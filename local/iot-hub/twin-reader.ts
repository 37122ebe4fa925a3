// Resolves the property paths of conditions and queries to fast readers of twins.
import type { Read } from "./expression.ts";
import { type ConfigurationStatuses, type TwinState, renderEtag } from "./twin.ts";

/** The value at a path of keys below a value, or undefined. */
export function readPath(value: unknown, path: readonly string[]): unknown {
  let current = value;
  for (const key of path) {
    if (typeof current !== "object" || current === null || !Object.hasOwn(current, key)) return undefined;
    current = (current as Readonly<Record<string, unknown>>)[key];
  }
  return current;
}

function readerOfProperties(path: readonly string[]): Read<TwinState> {
  const [name, ...rest] = path;
  if (name !== "desired" && name !== "reported") return () => undefined;
  if (rest.length === 1 && rest[0] === "$version") return (twin) => twin[name].version;
  return (twin) => readPath(twin[name].content, rest);
}

function readerOfTags(path: readonly string[]): Read<TwinState> {
  const [first, second] = path;
  // Slots and rings are one or two keys deep, and read for every device at every evaluation.
  if (path.length === 1 && first !== undefined)
    return ({ tags }) => (Object.hasOwn(tags, first) ? tags[first] : undefined);
  if (path.length === 2 && first !== undefined && second !== undefined) {
    return ({ tags }) => {
      const below = tags[first] as unknown as Record<string, unknown> | undefined;
      return typeof below === "object" && below !== null && Object.hasOwn(below, second) ? below[second] : undefined;
    };
  }
  return (twin) => readPath(twin.tags, path);
}

/** Statuses are shared by the devices that have the same, so the last answer often is the next one. */
function readerOfConfigurations(path: readonly string[]): Read<TwinState> {
  let last: ConfigurationStatuses | undefined;
  let value: unknown;
  return ({ configurations }) => {
    if (configurations !== last) {
      last = configurations;
      value = readPath(configurations, path);
    }
    return value;
  };
}

const FIELDS: Readonly<Record<string, Read<TwinState>>> = {
  deviceId: (twin) => twin.device.deviceId,
  moduleId: (twin) => twin.moduleId,
  etag: (twin) => renderEtag(twin.etag),
  deviceEtag: (twin) => twin.device.etag,
  status: (twin) => twin.device.status,
  connectionState: (twin) => (twin.device.connected ? "Connected" : "Disconnected"),
  lastActivityTime: (twin) => new Date(twin.device.lastActivityMs).toISOString(),
  cloudToDeviceMessageCount: () => 0,
  authenticationType: () => "sas",
  modelId: () => "",
  version: (twin) => twin.version,
};

/** The reader of a path in device and module twins; a path that no twin has reads undefined. */
export function readerOfTwin(path: readonly string[]): Read<TwinState> {
  const [first, ...rest] = path;
  switch (first) {
    case "tags":
      return readerOfTags(rest);
    case "properties":
      return readerOfProperties(rest);
    case "configurations":
      return readerOfConfigurations(rest);
    case "capabilities":
      return rest.length === 1 && rest[0] === "iotEdge"
        ? (twin) => (twin.moduleId === undefined ? twin.device.iotEdge : undefined)
        : () => undefined;
    default:
      return (
        (rest.length === 0 && first !== undefined && Object.hasOwn(FIELDS, first) ? FIELDS[first] : undefined) ??
        (() => undefined)
      );
  }
}
