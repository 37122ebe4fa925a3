// Decides which unchanged files must be shipped all the same so that hard links come out as in the candidate.
import type { Difference } from "./compare-overlays.ts";
import type { FileEntry } from "./layer-entry.ts";
import type { Overlay, OverlayNode } from "./overlay.ts";

/** The names of every inode that has more than one, sorted. */
export function listLinkGroups({ root, linked }: Overlay): ReadonlyMap<FileEntry, readonly string[]> {
  const groups = new Map<FileEntry, string[]>();
  if (linked.size === 0) return groups;
  const visit = (node: OverlayNode, path: string): void => {
    for (const [name, child] of node.children ?? []) {
      const childPath = path === "" ? name : `${path}/${name}`;
      const { entry } = child;
      if (entry !== undefined && linked.has(entry)) {
        const names = groups.get(entry);
        if (names === undefined) groups.set(entry, [childPath]);
        else names.push(childPath);
      }
      visit(child, childPath);
    }
  };
  visit(root, "");
  for (const [entry, names] of groups) {
    if (names.length === 1) groups.delete(entry);
    else names.sort();
  }
  return groups;
}

/**
 * The paths among `kept` that have to be shipped: an inode of the candidate can stay only if all its names are kept and
 * were one inode of the anchor, and of one anchor's inode that the candidate split, one part only can stay: the one with
 * most names, of equals the first.
 */
export function breakLinks(
  kept: ReadonlyMap<string, Difference>,
  anchorGroups: ReadonlyMap<FileEntry, readonly string[]>,
  candidateGroups: ReadonlyMap<FileEntry, readonly string[]>,
): ReadonlySet<string> {
  const shipped = new Set<string>();
  const partsOf = new Map<FileEntry, string[][]>();
  const seen = new Set<FileEntry>();
  for (const { path, anchor, candidate } of kept.values()) {
    if (anchor === undefined || candidate === undefined || seen.has(candidate)) continue;
    seen.add(candidate);
    const names = [...(candidateGroups.get(candidate) ?? [path])];
    if (names.length === 1 && !anchorGroups.has(anchor)) continue;
    const isWhole = names.every((name) => kept.get(name)?.anchor === anchor);
    if (!isWhole) for (const name of names) shipped.add(name);
    else if (partsOf.has(anchor)) partsOf.get(anchor)?.push(names);
    else partsOf.set(anchor, [names]);
  }
  for (const parts of partsOf.values()) {
    parts.sort((left, right) => right.length - left.length || compareText(left[0] ?? "", right[0] ?? ""));
    for (const name of parts.slice(1).flat()) shipped.add(name);
  }
  return shipped;
}

function compareText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
