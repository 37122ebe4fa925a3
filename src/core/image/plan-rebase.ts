// Plans a rebase: from the indexes of both images' unshared layers to the entries of the delta, as plain data.
import { compareOverlays } from "./compare-overlays.ts";
import type { ContentRules } from "./content-rules.ts";
import { layOutDelta, type DeltaEntries } from "./delta-entries.ts";
import { displayPath } from "./entry-path.ts";
import type { LayerIndex } from "./layer-entry.ts";
import { findNode, stackLayers } from "./overlay.ts";
import { isPackageList, listPackageChanges, type PackageChange } from "./packages/package-changes.ts";
import { settleDifferences } from "./settle-differences.ts";

/** When shared layers are read: `needed`, where the outcome depends on them, what packages changed included; `always`, so that nothing is shipped that they already hold. */
export type ReadBase = "needed" | "always";

/** The layers of two images that have their lowest `shared` layers in common. */
export interface RebaseInput {
  readonly shared: number;
  /** The indexes read so far of the shared layers: the topmost ones, bottom first. */
  readonly base: readonly LayerIndex[];
  /** The anchor's layers above the shared ones, bottom first. */
  readonly anchor: readonly LayerIndex[];
  readonly candidate: readonly LayerIndex[];
  readonly rules?: ContentRules;
  /** When shared layers are asked for; default `needed`. */
  readonly readBase?: ReadBase;
}

/** What has to be done to the anchor's files to get the candidate's. */
export interface FilePlan {
  readonly delta: DeltaEntries;
  /** Paths (byte strings) of all types by what becomes of them. */
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
  /** Numbers of files, that is of everything but directories. */
  readonly files: {
    readonly added: number;
    readonly changed: number;
    readonly removed: number;
    readonly ignored: { readonly mtimeOnly: number; readonly pyc: number; readonly volatile: number };
  };
  /** Bytes of content that the delta ships. */
  readonly contentBytes: number;
  readonly packages: readonly PackageChange[];
}

/** The plan, or the number of the shared layer to be indexed first, because `path` depends on it. */
export type RebasePlan =
  | { readonly needs: number; readonly path: string }
  | { readonly needs: undefined; readonly plan: FilePlan };

/**
 * Compares two images and plans the delta, without reading shared layers unless the outcome depends on them.
 *
 * Deterministic: which shared layers it asks for and what it answers depend on the layers alone.
 */
export function planRebase(input: RebaseInput): RebasePlan {
  const { shared, base, anchor, candidate, rules, readBase } = input;
  const firstLayer = shared - base.length;
  const complete = firstLayer === 0;
  if (readBase === "always" && !complete) return { needs: firstLayer - 1, path: "" };
  const candidateLayers = [...base, ...candidate];
  const anchorOverlay = stackLayers([...base, ...anchor], { complete, firstLayer });
  const candidateOverlay = stackLayers(candidateLayers, { complete, firstLayer });
  const comparison = compareOverlays(anchorOverlay, candidateOverlay, rules);
  if (comparison.unknown !== undefined) return { needs: firstLayer - 1, path: displayPath(comparison.unknown) };

  const { shipped, removed, ignored } = settleDifferences(comparison.differences, anchorOverlay, candidateOverlay);
  const list = complete ? undefined : shipped.find(({ path, anchor }) => anchor === undefined && isPackageList(path));
  if (list !== undefined) return { needs: firstLayer - 1, path: displayPath(list.path) };
  const delta = layOutDelta(shipped, removed, candidateOverlay, candidateLayers, firstLayer);
  const added = shipped.filter(({ change }) => change === "added");
  const changed = shipped.filter(({ change }) => change === "changed");
  const paths = (list: typeof shipped): string[] => list.map(({ path }) => path);
  const countFiles = (list: typeof shipped): number =>
    list.filter((one) => (one.candidate ?? one.anchor)?.type !== "directory").length;
  const plan: FilePlan = {
    delta,
    added: paths(added),
    changed: paths(changed),
    removed: paths(removed),
    files: { added: countFiles(added), changed: countFiles(changed), removed: countFiles(removed), ignored },
    contentBytes: delta.files.reduce((sum, { entry }) => sum + entry.size, 0),
    packages: listPackageChanges(
      shipped,
      removed,
      (path) => findNode(candidateOverlay.root, path)?.entry?.packages ?? [],
    ),
  };
  return { needs: undefined, plan };
}
