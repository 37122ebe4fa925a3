// Walks two overlays side by side and lists where they differ, or the first place where the unknown bottom matters.
import {
  createVolatileTest,
  differsInSourceTimeOnly,
  hasSameContent,
  hasSameMetadata,
  hasSameTime,
} from "./content-rules.ts";
import type { ContentRules } from "./content-rules.ts";
import type { FileEntry } from "./layer-entry.ts";
import { isDirectory, type Overlay, type OverlayNode } from "./overlay.ts";

/**
 * What is the matter with a path. The last four leave the anchor's file in place: of `same` only hard links may differ,
 * `mtime`, `volatile` and `pyc` are differences that do not count.
 */
export type Change = "added" | "changed" | "removed" | "same" | "mtime" | "volatile" | "pyc";

/** One path that differs, or that a later rule must look at. Directories that are equal are not listed. */
export interface Difference {
  readonly path: string;
  readonly change: Change;
  readonly anchor: FileEntry | undefined;
  readonly candidate: FileEntry | undefined;
  /** The layer of the candidate that has its content. */
  readonly layer: number;
  /** Removed paths: whether a whiteout is needed here, which it is not beneath another removal or replacement. */
  readonly whiteout: boolean;
}

/** The differences in an order that depends on the layers alone, or `unknown`: a path that the layers below decide. */
export type Comparison =
  | { readonly unknown: string }
  | { readonly unknown: undefined; readonly differences: readonly Difference[] };

/** What a directory is that nobody described: as container runtimes create it. */
const IMPLIED_DIRECTORY: FileEntry = {
  kind: "entry",
  path: "",
  type: "directory",
  mode: 0o755,
  uid: 0,
  gid: 0,
  size: 0,
  mtime: 0,
  mtimeNanos: 0,
  linkname: "",
  deviceMajor: 0,
  deviceMinor: 0,
  sha256: "",
};

/**
 * Compares the anchor's layers with the candidate's, both standing on the same bottom.
 *
 * What both leave to the bottom is equal. What only the candidate describes is taken for different. What the anchor
 * changes and the candidate leaves to the bottom cannot be known without it.
 */
export function compareOverlays(anchor: Overlay, candidate: Overlay, rules: ContentRules = {}): Comparison {
  const dangling = anchor.danglingLink ?? candidate.danglingLink;
  if (dangling !== undefined) return { unknown: dangling };
  const walk = createWalk(rules, (a, c) => anchor.linked.has(a) || candidate.linked.has(c));
  walk.directories("", anchor.root, candidate.root, anchor.root.masks, candidate.root.masks);
  const unknown = walk.unknown();
  return unknown === undefined ? { unknown, differences: walk.differences } : { unknown };
}

interface Walk {
  readonly differences: Difference[];
  unknown(): string | undefined;
  directories(path: string, a: OverlayNode, c: OverlayNode, masksA: boolean, masksC: boolean): void;
}

type Standing = "unknown" | "absent" | "directory" | "leaf";

function standingOf(node: OverlayNode | undefined, masked: boolean): Standing {
  if (node === undefined) return masked ? "absent" : "unknown";
  if (node.removed) return "absent";
  return isDirectory(node) ? "directory" : "leaf";
}

function createWalk(rules: ContentRules, isLinked: (a: FileEntry, c: FileEntry) => boolean): Walk {
  const differences: Difference[] = [];
  const isVolatile = createVolatileTest(rules);
  let unknown: string | undefined;

  const list = (path: string, change: Change, a: OverlayNode | undefined, c: OverlayNode | undefined): void => {
    const whiteout = change === "removed";
    differences.push({ path, change, anchor: a?.entry, candidate: c?.entry, layer: c?.layer ?? -1, whiteout });
  };

  /** Lists everything the anchor has beneath a directory that goes away. */
  const listRemoved = (path: string, node: OverlayNode): void => {
    for (const [name, child] of node.children ?? []) {
      if (child.removed) continue;
      const childPath = join(path, name);
      const facts = { anchor: child.entry, candidate: undefined, layer: -1, whiteout: false };
      if (child.entry !== undefined) differences.push({ path: childPath, change: "removed", ...facts });
      listRemoved(childPath, child);
    }
  };

  /** Lists a directory of the candidate that the anchor has not, and all beneath it. */
  const addDirectory = (path: string, a: OverlayNode | undefined, c: OverlayNode, masked: boolean): void => {
    const change = a === undefined || a.removed ? "added" : "changed";
    if (c.entry !== undefined) list(path, change, a, c);
    else if (masked && !impliesItself(c)) list(path, change, a, { ...c, entry: IMPLIED_DIRECTORY });
    for (const [name, child] of c.children ?? []) visit(join(path, name), undefined, child, masked, masked);
  };

  const compareLeaves = (path: string, a: FileEntry, c: FileEntry): Change => {
    if (a === c) return "same";
    if (!hasSameMetadata(a, c)) return "changed";
    if (hasSameContent(a, c)) return hasSameTime(a, c) ? "same" : "mtime";
    if (a.type === "file" && isVolatile(path)) return "volatile";
    return differsInSourceTimeOnly(a, c) ? "pyc" : "changed";
  };

  const directories = (path: string, a: OverlayNode, c: OverlayNode, masksA: boolean, masksC: boolean): void => {
    const lacksBottom = !masksA && a.entry !== undefined && c.entry === undefined;
    if (masksA !== masksC || lacksBottom) {
      unknown ??= path;
      return;
    }
    if (c.entry !== undefined && a.entry === undefined && !masksA) list(path, "changed", a, c);
    else if (a.entry !== c.entry) {
      const before = a.entry ?? IMPLIED_DIRECTORY;
      const after = c.entry ?? IMPLIED_DIRECTORY;
      if (!hasSameMetadata(before, after)) list(path, "changed", a, c.entry === undefined ? { ...c, entry: after } : c);
    }
    for (const [name, child] of c.children ?? []) visit(join(path, name), a.children?.get(name), child, masksA, masksC);
    for (const [name, child] of a.children ?? [])
      if (!c.children?.has(name)) visit(join(path, name), child, undefined, masksA, masksC);
  };

  const visit = (
    path: string,
    a: OverlayNode | undefined,
    c: OverlayNode | undefined,
    maskedA: boolean,
    maskedC: boolean,
  ): void => {
    if (unknown !== undefined) return;
    const before = standingOf(a, maskedA);
    const after = standingOf(c, maskedC);
    if (after === "unknown") unknown = path;
    else if (after === "absent") {
      if (before === "absent") return;
      const isImplied = before === "directory" && a?.entry === undefined;
      list(path, "removed", a !== undefined && isImplied ? { ...a, entry: IMPLIED_DIRECTORY } : a, undefined);
      if (a !== undefined) listRemoved(path, a);
    } else if (after === "leaf") {
      const entry = c?.entry as FileEntry;
      if (before === "leaf") {
        const old = a?.entry as FileEntry;
        const change = compareLeaves(path, old, entry);
        if (change !== "same" || isLinked(old, entry)) list(path, change, a, c);
      } else list(path, before === "directory" ? "changed" : "added", a, c);
      if (before === "directory" && a !== undefined) listRemoved(path, a);
    } else if (c !== undefined) {
      const masksC = maskedC || c.masks;
      if (before === "directory" && a !== undefined) directories(path, a, c, maskedA || a.masks, masksC);
      else if (masksC !== (before !== "unknown")) unknown = path;
      else addDirectory(path, a, c, masksC);
    }
  };

  return { differences, unknown: () => unknown, directories };
}

/** Whether something beneath a directory makes it appear. */
function impliesItself(node: OverlayNode): boolean {
  const waiting = [node];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    for (const child of next.children?.values() ?? []) {
      if (child.removed) continue;
      if (child.entry !== undefined) return true;
      waiting.push(child);
    }
  }
  return false;
}

function join(path: string, name: string): string {
  return path === "" ? name : `${path}/${name}`;
}
