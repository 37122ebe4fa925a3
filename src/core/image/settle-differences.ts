// Turns differences into the verdict on each path: shipped, removed, or left as the anchor has it.
import { sourceOfPyc } from "./content-rules.ts";
import type { Change, Difference } from "./compare-overlays.ts";
import { breakLinks, listLinkGroups } from "./link-groups.ts";
import type { Overlay } from "./overlay.ts";

/** Differences that the anchor's file survives. */
const KEPT: ReadonlySet<Change> = new Set<Change>(["same", "mtime", "volatile", "pyc"]);

/** What is to be done, in the order of the comparison. */
export interface Verdict {
  /** Paths whose state in the candidate must be shipped; `added` or `changed`. */
  readonly shipped: readonly Difference[];
  /** Paths that must go; those with `whiteout` need a marker. */
  readonly removed: readonly Difference[];
  /** How many files differ in something that does not count. */
  readonly ignored: { readonly mtimeOnly: number; readonly pyc: number; readonly volatile: number };
}

/**
 * Applies the rules that look at more than one path.
 *
 * A `.pyc` whose source is not kept is shipped; a source whose `.pyc` is shipped and records its new time is shipped as
 * well, since Python runs the pair only if they agree (facts of PEP 552); hard links come out as in the candidate.
 */
export function settleDifferences(differences: readonly Difference[], anchor: Overlay, candidate: Overlay): Verdict {
  const kept = new Map<string, Difference>();
  const settled = new Map<string, Difference>();
  for (const difference of differences) (KEPT.has(difference.change) ? kept : settled).set(difference.path, difference);

  const ship = (path: string): void => {
    const difference = kept.get(path) as Difference;
    kept.delete(path);
    settled.set(path, { ...difference, change: "changed" });
  };
  for (const { path, change } of kept.values()) if (change === "pyc" && settled.has(sourceOfPyc(path))) ship(path);
  for (const { path, candidate: entry } of settled.values()) {
    if (entry?.pyc === undefined) continue;
    const source = kept.get(sourceOfPyc(path));
    if (source?.change === "mtime" && source.candidate && source.candidate.mtime >>> 0 === entry.pyc.sourceMtime)
      ship(source.path);
  }
  if (anchor.linked.size > 0 || candidate.linked.size > 0) {
    const broken = breakLinks(kept, listLinkGroups(anchor), listLinkGroups(candidate));
    for (const path of broken) if (kept.has(path)) ship(path);
  }

  const ignored = { mtimeOnly: 0, pyc: 0, volatile: 0 };
  for (const { change } of kept.values()) {
    if (change === "mtime") ignored.mtimeOnly += 1;
    else if (change === "pyc" || change === "volatile") ignored[change] += 1;
  }
  const all = [...settled.values()];
  return {
    shipped: all.filter(({ change }) => change !== "removed"),
    removed: all.filter(({ change }) => change === "removed"),
    ignored,
  };
}
