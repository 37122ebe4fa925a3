// Puts a comparison into numbers: the outcome, the bytes a device downloads, the drift.
import { isEmptyDelta } from "../../core/image/delta-entries.ts";
import { displayPath } from "../../core/image/entry-path.ts";
import { judgeDrift } from "../../core/image/drift.ts";
import { listConfigChanges } from "../../core/image/image-config.ts";
import { formatReference } from "../../core/image/reference.ts";
import { countMissingBytes } from "../../core/image/shared-layers.ts";
import type { PlanSummary, ResolvedImage } from "../../ports/rebase-engine.ts";
import type { ImagePair, PlannedPair } from "./compare-images.ts";
import type { LoadedImage } from "./load-image.ts";

/** A plan without the bytes of its delta, which take building it. */
export type Draft = Omit<PlanSummary, "bytes"> & { readonly fullBytes: number };

const NO_FILES: PlanSummary["files"] = {
  added: 0,
  changed: 0,
  removed: 0,
  ignored: { mtimeOnly: 0, pyc: 0, volatile: 0 },
};

const NO_CHANGES = { added: [], changed: [], removed: [], packages: [] } as const;

/** The image as asked for, with the digest it has. */
export function resolved({ reference, digest }: LoadedImage): ResolvedImage {
  return { reference: formatReference(reference), digest };
}

/** The outcome that manifests and configs alone decide, if they do: the same image, or no layer in common. */
export function draftAtOnce(pair: ImagePair): Draft | undefined {
  const { anchor, candidate, shared } = pair;
  if (anchor.digest === candidate.digest)
    return draft(pair, "nothing", "the candidate is the anchor", NO_FILES, { class: "none", packages: [] });
  if (shared > 0) return undefined;
  const { class: drift } = judgeDrift({ ...NO_CHANGES, config: changesOf(pair) });
  const reason = "no common layer: only the whole candidate can be released";
  const worst = drift === "config" ? drift : "system";
  return draft(pair, "full", reason, NO_FILES, { class: worst, packages: [] });
}

/** The outcome of a comparison of files. */
export function draftPlanned(planned: PlannedPair): Draft {
  const { plan } = planned;
  const config = changesOf(planned);
  const drift = judgeDrift({ ...plan, config });
  if (isEmptyDelta(plan.delta) && config.length === 0)
    return draft(planned, "nothing", "no file and no setting differs in anything that counts", plan.files, drift);
  const { added, changed, removed } = plan.files;
  const reason = `${added} files added, ${changed} changed, ${removed} removed; ${config.length} settings changed`;
  return draft(planned, "rebase", reason, plan.files, drift);
}

function draft(
  pair: ImagePair,
  outcome: PlanSummary["outcome"],
  reason: string,
  files: PlanSummary["files"],
  drift: PlanSummary["drift"],
): Draft {
  const { anchor, candidate, shared } = pair;
  const { config, layers } = candidate.manifest;
  const fullBytes = countMissingBytes([...layers, config], [...anchor.manifest.layers, anchor.manifest.config]);
  return {
    outcome,
    reason,
    anchor: resolved(anchor),
    candidate: resolved(candidate),
    sharedLayers: shared,
    fullBytes: anchor.digest === candidate.digest ? 0 : fullBytes + candidate.manifestBytes,
    files,
    drift,
    config: { changed: changesOf(pair) },
  };
}

function changesOf({ anchor, candidate }: ImagePair): readonly string[] {
  return listConfigChanges(anchor.config, candidate.config);
}

/** Completes a draft with the bytes of what it ships. */
export function complete({ fullBytes, ...rest }: Draft, delta: number, estimated = false): PlanSummary {
  return { ...rest, bytes: { full: fullBytes, delta, estimated } };
}

/** Bytes that a delta too large to be built for a plan will take: its contents, packed as well as their layers were. */
export function estimateDelta({ plan, candidate, candidateIndexes }: PlannedPair): number {
  let bytes = 0;
  for (const { layer, entry } of plan.delta.files) {
    const entries = candidateIndexes.get(layer)?.entries ?? [];
    bytes += entry.size * ratioOf(candidate.manifest.layers[layer]?.size ?? 0, entries);
  }
  return Math.round(bytes);
}

const ratios = new WeakMap<object, number>();

function ratioOf(packed: number, entries: PlannedEntries): number {
  const known = ratios.get(entries);
  if (known !== undefined) return known;
  const unpacked = entries.reduce((sum, entry) => sum + (entry.kind === "entry" ? entry.size : 0), 0);
  const ratio = unpacked === 0 ? 1 : Math.min(1, packed / unpacked);
  ratios.set(entries, ratio);
  return ratio;
}

type PlannedEntries = NonNullable<ReturnType<PlannedPair["candidateIndexes"]["get"]>>["entries"];

/** How many differences are listed one by one. */
const MAX_LISTED = 20;

/** Bounds a list of differences, saying how many are left out. */
export function boundDifferences(differences: readonly string[]): readonly string[] {
  if (differences.length <= MAX_LISTED) return differences;
  return [...differences.slice(0, MAX_LISTED), `and ${differences.length - MAX_LISTED} more`];
}

/** Names what a plan would still have to do. */
export function listFileDifferences({ plan }: PlannedPair): readonly string[] {
  const name = (verb: string, paths: readonly string[]): string[] =>
    paths.map((path) => `${verb} /${displayPath(path)}`);
  return [...name("missing", plan.added), ...name("differs", plan.changed), ...name("surplus", plan.removed)];
}
