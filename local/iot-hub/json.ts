// Plain JSON values: merging patches into them, freezing what is shared, and measuring them.

/** A JSON value that is not written to. */
export type Json = string | number | boolean | null | readonly Json[] | JsonObject;
/** A JSON object that is not written to. */
export interface JsonObject {
  readonly [key: string]: Json;
}

/** The one empty object, shared. */
export const EMPTY: JsonObject = Object.freeze({});

/** Whether a value is an object and no array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The object without keys that are null, at any depth; the object itself when there are none. */
function withoutNulls(object: JsonObject): JsonObject {
  let clean: Record<string, Json> | undefined;
  for (const [key, value] of Object.entries(object)) {
    const kept = isObject(value) ? withoutNulls(value) : value;
    if (kept === value && kept !== null) continue;
    clean ??= { ...object };
    if (kept === null) delete clean[key];
    else clean[key] = kept;
  }
  return clean ?? object;
}

/**
 * The merge of `patch` into `target` as twins do it: objects merge, null deletes a key, everything else replaces.
 * Parts of both are shared with the result.
 */
export function mergePatch(target: JsonObject, patch: JsonObject): JsonObject {
  const merged: Record<string, Json> = { ...target };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key];
    else if (isObject(value)) {
      const before = merged[key];
      merged[key] = isObject(before) ? mergePatch(before, value) : withoutNulls(value);
    } else merged[key] = value;
  }
  return merged;
}

/** `target` with the value at a path of keys replaced; objects on the way are created. */
export function setPath(target: JsonObject, path: readonly string[], value: Json): JsonObject {
  const [key, ...rest] = path;
  if (key === undefined) return isObject(value) ? value : target;
  const before = target[key];
  return { ...target, [key]: rest.length === 0 ? value : setPath(isObject(before) ? before : EMPTY, rest, value) };
}

/** The bytes of a value as compact UTF-8 JSON. */
export function sizeOf(value: Json): number {
  return Buffer.byteLength(JSON.stringify(value));
}

/** Freezes a value all the way down and returns it. */
export function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(deepFreeze);
  }
  return value;
}
