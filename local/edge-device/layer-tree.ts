// The tree one layer describes and how trees stack: whiteouts, opaque directories, links, and no way out of the root.
import { PullError } from "./pull-error.ts";

/** Owner, permission bits and modification time (ms since the Unix epoch) of an entry. */
export interface EntryMetadata {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeMs: number;
}

/** A regular file; `content` is the path of the file that holds its bytes. Hard links share one node. */
interface FileNode extends EntryMetadata {
  readonly type: "file";
  readonly content: string;
}

/** A symbolic link; `target` is as the image has it, thus relative to the image's root when absolute. */
interface SymlinkNode extends EntryMetadata {
  readonly type: "symlink";
  readonly target: string;
}

/** A directory; without `metadata` it was only implied by an entry below it. Whiteouts hide what lower layers hold. */
export interface DirectoryNode {
  readonly type: "directory";
  metadata: EntryMetadata | undefined;
  opaque: boolean;
  readonly whiteouts: Set<string>;
  readonly children: Map<string, TreeNode>;
}

/** Anything a layer can put at a path. */
export type TreeNode = FileNode | SymlinkNode | DirectoryNode;

/** One entry of a layer; paths are as in the tar. */
export type LayerEntry =
  | ({ readonly type: "directory"; readonly path: string } & EntryMetadata)
  | ({ readonly type: "file"; readonly path: string; readonly content: string } & EntryMetadata)
  | ({ readonly type: "symlink"; readonly path: string; readonly target: string } & EntryMetadata)
  | { readonly type: "link"; readonly path: string; readonly target: string };

const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";
/** Names that aufs reserved for itself; Docker ignores them in layers. */
const RESERVED = ".wh..wh.";
const LINK_DEPTH = 40;

/** An empty directory that only exists because something lies below it. */
export function createDirectory(metadata?: EntryMetadata): DirectoryNode {
  return { type: "directory", metadata, opaque: false, whiteouts: new Set(), children: new Map() };
}

function invalid(path: string, got: string): PullError {
  return new PullError("LAYER_INVALID", { operation: "unpack", subject: JSON.stringify(path), got });
}

/** Splits a tar path into names, `..` resolved. @throws PullError ENTRY_ESCAPES, LAYER_INVALID */
function splitPath(path: string): string[] {
  if (path.includes("\0")) throw invalid(path, "a NUL in the path");
  const names: string[] = [];
  for (const name of path.split("/")) {
    if (name === "" || name === ".") continue;
    if (name !== "..") names.push(name);
    else if (names.pop() === undefined) throw escapes(path);
  }
  return names;
}

function escapes(path: string): PullError {
  const want = "a path inside the image's root";
  return new PullError("ENTRY_ESCAPES", { operation: "unpack", subject: JSON.stringify(path), want });
}

/** The directory that `names` lead to, symbolic links followed inside the root, missing directories implied. */
function enter(root: DirectoryNode, names: readonly string[], path: string): DirectoryNode {
  let trail: DirectoryNode[] = [root];
  const waiting = [...names];
  for (let links = 0; waiting.length > 0;) {
    const name = waiting.shift() as string;
    const here = trail.at(-1) as DirectoryNode;
    if (name === "..") {
      if (trail.length === 1) throw escapes(path);
      trail.pop();
      continue;
    }
    const child = here.children.get(name) ?? createDirectory();
    if (child.type === "file") throw invalid(path, `a file where ${JSON.stringify(name)} must be a directory`);
    if (child.type === "symlink") {
      if (++links > LINK_DEPTH) throw invalid(path, "too many symbolic links");
      if (child.target.startsWith("/")) trail = [root];
      waiting.unshift(...child.target.split("/").filter((part) => part !== "" && part !== "."));
      continue;
    }
    here.children.set(name, child);
    trail.push(child);
  }
  return trail.at(-1) as DirectoryNode;
}

/**
 * Adds an entry to the tree of its layer, as Docker's overlay2 driver does: a later entry replaces an earlier one, parents
 * are followed through links of the same layer, hard links must point at a file of the same layer.
 * @throws PullError ENTRY_ESCAPES, LAYER_INVALID
 */
export function addEntry(root: DirectoryNode, entry: LayerEntry): void {
  const names = splitPath(entry.path);
  const name = names.pop();
  if (name === undefined) {
    if (entry.type !== "directory") throw invalid(entry.path, `a ${entry.type} as the root`);
    root.metadata = metadataOf(entry);
    return;
  }
  const parent = enter(root, names, entry.path);
  if (name === OPAQUE) {
    parent.opaque = true;
    return;
  }
  if (name.startsWith(RESERVED)) return;
  if (name.startsWith(WHITEOUT)) {
    const hidden = name.slice(WHITEOUT.length);
    if (hidden === "" || hidden === "." || hidden === "..") throw invalid(entry.path, "a whiteout of nothing");
    parent.whiteouts.add(hidden);
    return;
  }
  if (entry.type === "link") {
    const targetNames = splitPath(entry.target);
    const target = targetNames.pop();
    const found = target === undefined ? undefined : enter(root, targetNames, entry.target).children.get(target);
    if (found === undefined || found.type === "directory") {
      throw invalid(entry.path, `a hard link to ${JSON.stringify(entry.target)}, which is no file of this layer`);
    }
    parent.children.set(name, found);
    return;
  }
  if (entry.type === "directory") {
    const existing = parent.children.get(name);
    if (existing?.type === "directory") existing.metadata = metadataOf(entry);
    else parent.children.set(name, createDirectory(metadataOf(entry)));
    return;
  }
  const { path: _path, ...node } = entry;
  parent.children.set(name, node);
}

function metadataOf({ mode, uid, gid, mtimeMs }: EntryMetadata): EntryMetadata {
  return { mode, uid, gid, mtimeMs };
}

/** Puts `upper` on top of `lower`, changing `lower` only (OCI image-spec, layer.md: whiteouts hide lower layers alone). */
export function stackLayer(lower: DirectoryNode, upper: DirectoryNode): void {
  lower.metadata = upper.metadata ?? lower.metadata;
  if (upper.opaque) lower.children.clear();
  for (const name of upper.whiteouts) lower.children.delete(name);
  for (const [name, node] of upper.children) {
    if (node.type !== "directory") {
      lower.children.set(name, node);
      continue;
    }
    const existing = lower.children.get(name);
    const target = existing?.type === "directory" ? existing : createDirectory();
    lower.children.set(name, target);
    stackLayer(target, node);
  }
}
