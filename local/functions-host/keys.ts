// Access keys: function, host, master and system keys, made once and kept in the host's file.
import { randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Storage } from "./storage.ts";

/** The keys of an app; names are only for people. */
export interface HostKeys {
  readonly master: string;
  readonly host: Readonly<Record<string, string>>;
  readonly system: Readonly<Record<string, string>>;
  /** By function name, then by key name. */
  readonly functions: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** Fills in what is not given: from the file if it holds keys already, else with random keys that it then holds. */
export function loadKeys(storage: Storage, given: Partial<HostKeys>): HostKeys {
  const stored = storage.get("SELECT value FROM meta WHERE name = 'keys'")?.["value"];
  const kept = stored === undefined ? undefined : (JSON.parse(stored as string) as HostKeys);
  const keys: HostKeys = {
    master: given.master ?? kept?.master ?? makeKey(),
    host: given.host ?? kept?.host ?? { default: makeKey() },
    system: { durabletask_extension: makeKey(), eventgrid_extension: makeKey(), ...kept?.system, ...given.system },
    functions: given.functions ?? kept?.functions ?? {},
  };
  storage.run("INSERT OR REPLACE INTO meta VALUES ('keys', ?)", JSON.stringify(keys));
  return keys;
}

function makeKey(): string {
  return randomBytes(40).toString("base64url");
}

/** Which key a request needs: any key of a function, the system key of an extension, or the master key. */
export type Requirement =
  | { readonly level: "anonymous" | "admin" }
  | { readonly level: "function"; readonly functionName: string }
  | { readonly level: "system"; readonly name: string };

/** Whether a request carries a fitting key, in `x-functions-key` or else in `?code=`. */
export function isAuthorized(keys: HostKeys, request: IncomingMessage, url: URL, requirement: Requirement): boolean {
  if (requirement.level === "anonymous") return true;
  const header = request.headers["x-functions-key"];
  const given = (Array.isArray(header) ? header[0] : header) ?? url.searchParams.get("code");
  if (given === null || given === undefined || given === "") return false;
  return acceptedKeys(keys, requirement).some((key) => isEqual(key, given));
}

function acceptedKeys(keys: HostKeys, requirement: Requirement): string[] {
  switch (requirement.level) {
    case "function":
      return [
        keys.master,
        ...Object.values(keys.host),
        ...Object.values(keys.functions[requirement.functionName] ?? {}),
      ];
    case "system":
      return [keys.master, ...[keys.system[requirement.name]].filter((key) => key !== undefined)];
    default:
      return [keys.master];
  }
}

function isEqual(key: string, given: string): boolean {
  const [a, b] = [Buffer.from(key), Buffer.from(given)];
  return a.length === b.length && timingSafeEqual(a, b);
}
