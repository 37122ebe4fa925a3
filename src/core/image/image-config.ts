// Image configs (Docker image spec v1.2, OCI config.md): read, compared, and carried over to another root file system.
import { z } from "zod";
import type { Digest, Platform } from "./descriptor.ts";
import { isDigest } from "./digest.ts";
import { ImageError } from "./image-error.ts";
import { replaceMembers } from "./json-members.ts";

/** Configs beyond this size are refused. */
export const MAX_CONFIG_BYTES: number = 8 * 1024 * 1024;

const historySchema = z.looseObject({ empty_layer: z.boolean().exactOptional() });

const configSchema = z.looseObject({
  os: z.string(),
  architecture: z.string(),
  variant: z.string().exactOptional(),
  created: z.string().nullish(),
  config: z.record(z.string(), z.unknown()).nullish(),
  rootfs: z.looseObject({
    type: z.literal("layers"),
    diff_ids: z.array(z.custom<Digest>((value) => typeof value === "string" && isDigest(value), "not a digest")),
  }),
  history: z.array(historySchema).nullish(),
});

/** One step of an image's history; steps with `empty_layer` have no layer. */
type HistoryEntry = Readonly<Record<string, unknown>> & { readonly empty_layer?: boolean };

/** A checked config; `text` is its exact JSON. */
export interface ImageConfig {
  readonly text: string;
  readonly platform: Platform;
  readonly created: string | undefined;
  /** The digests of the unpacked layers, bottom first. */
  readonly diffIds: readonly Digest[];
  readonly history: readonly HistoryEntry[];
  /** What containers run with: Env, Cmd, Labels … */
  readonly runtime: Readonly<Record<string, unknown>>;
}

/**
 * Reads a config; `layers` is the number of layers its manifest has.
 * @throws ImageError CONFIG_INVALID
 */
export function parseConfig(bytes: Uint8Array, layers: number, subject: string): ImageConfig {
  const refuse = (got: string, cause?: unknown): never => {
    throw new ImageError("CONFIG_INVALID", { operation: "read config of", subject, got, cause });
  };
  let text = "";
  let json: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    json = JSON.parse(text);
  } catch (cause) {
    return refuse(`${bytes.length} bytes that are not JSON`, cause);
  }
  const parsed = configSchema.safeParse(json);
  if (!parsed.success) return refuse(z.prettifyError(parsed.error).replaceAll(/\s*\n\s*/g, " "));
  const { os, architecture, variant, created, config, rootfs, history } = parsed.data;
  if (rootfs.diff_ids.length !== layers) return refuse(`${rootfs.diff_ids.length} diff_ids for ${layers} layers`);
  return {
    text,
    platform: { os, architecture, ...(variant ? { variant } : {}) },
    created: created ?? undefined,
    diffIds: rootfs.diff_ids,
    history: history ?? [],
    runtime: config ?? {},
  };
}

/** How history names the step that adds a delta layer. */
export const REBASE_STEP = "lighter rebase";

/** What the config of a rebased image consists of, besides the candidate's own fields. */
export interface CarryOver {
  readonly candidate: ImageConfig;
  readonly anchor: ImageConfig;
  /** The unpacked digests of the delta layers. */
  readonly deltaDiffIds: readonly Digest[];
  /** What history says of each delta layer. */
  readonly comment: string;
}

/**
 * Writes the candidate's config for the anchor's layers and the delta's: every byte but `rootfs` and `history` is the
 * candidate's.
 *
 * History is the anchor's plus one entry per delta layer, dated like the candidate; where the anchor's does not match
 * its layers (entries with `empty_layer` have none), plain entries stand in, since some tools refuse a mismatch.
 */
export function carryOverConfig({ candidate, anchor, deltaDiffIds, comment }: CarryOver): string {
  const withLayer = anchor.history.filter((entry) => entry.empty_layer !== true).length;
  const inherited: readonly HistoryEntry[] =
    withLayer === anchor.diffIds.length ? anchor.history : anchor.diffIds.map(() => ({ created_by: "unknown" }));
  const dated = candidate.created === undefined ? {} : { created: candidate.created };
  const added = deltaDiffIds.map(() => ({ ...dated, created_by: REBASE_STEP, comment }));
  return replaceMembers(candidate.text, {
    rootfs: JSON.stringify({ type: "layers", diff_ids: [...anchor.diffIds, ...deltaDiffIds] }),
    history: JSON.stringify([...inherited, ...added]),
  });
}

/** Records whose members are compared and named one by one. */
const MAPS: ReadonlySet<string> = new Set(["Labels", "ExposedPorts", "Volumes"]);

/**
 * Names what differs between two configs' runtime fields, sorted: `Cmd`, `Env.PATH`, `Labels.version` …; absent, null
 * and empty are the same.
 */
export function listConfigChanges(before: ImageConfig, after: ImageConfig): readonly string[] {
  const left = flatten(before.runtime);
  const right = flatten(after.runtime);
  const names = new Set([...left.keys(), ...right.keys()]);
  return [...names].filter((name) => left.get(name) !== right.get(name)).sort();
}

function flatten(runtime: Readonly<Record<string, unknown>>): Map<string, string> {
  const flat = new Map<string, string>();
  for (const [field, value] of Object.entries(runtime)) {
    if (isEmpty(value)) continue;
    if (field === "Env" && Array.isArray(value)) {
      for (const variable of value.map(String)) {
        const equals = variable.indexOf("=");
        flat.set(`Env.${equals === -1 ? variable : variable.slice(0, equals)}`, variable);
      }
    } else if (MAPS.has(field) && typeof value === "object" && value !== null)
      for (const [name, member] of Object.entries(value)) flat.set(`${field}.${name}`, JSON.stringify(member));
    else flat.set(field, JSON.stringify(value));
  }
  return flat;
}

function isEmpty(value: unknown): boolean {
  if (value === null || value === undefined || value === "" || value === false) return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

/** Names the top-level fields, other than `rootfs` and `history`, in which two configs differ, sorted. */
export function listUnequalFields(left: ImageConfig, right: ImageConfig): readonly string[] {
  const one = JSON.parse(left.text) as Record<string, unknown>;
  const other = JSON.parse(right.text) as Record<string, unknown>;
  const names = new Set([...Object.keys(one), ...Object.keys(other)]);
  names.delete("rootfs");
  names.delete("history");
  return [...names].filter((name) => canonical(one[name]) !== canonical(other[name])).sort();
}

/** JSON with sorted keys, so that equal values are equal texts. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "undefined";
  const members = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join()}}`;
}
