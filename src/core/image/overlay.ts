// Stacks layer indexes into one tree the way an overlay file system does, over a bottom that may still be unknown.
import { displayPath } from "./entry-path.ts";
import { ImageError } from "./image-error.ts";
import type { FileEntry, LayerIndex } from "./layer-entry.ts";

/**
 * A name in the tree. `removed` nodes hide whatever the unknown bottom has there; nodes without `entry` are directories
 * of which only something beneath them is known. All names of one inode hold the same `entry` object.
 */
export interface OverlayNode {
  entry: FileEntry | undefined;
  /** Position (from the bottom of the stack) of the layer that holds the entry's content. */
  layer: number;
  removed: boolean;
  /** Directories: whether what the unknown bottom has beneath is hidden. */
  masks: boolean;
  children: Map<string, OverlayNode> | undefined;
}

/** A stack of layers, merged. */
export interface Overlay {
  readonly root: OverlayNode;
  /** The entries that have more than one name. */
  readonly linked: ReadonlySet<FileEntry>;
  /** A hard link whose target lies in the unknown bottom, if there is one. */
  readonly danglingLink: string | undefined;
}

/** What an overlay stands on. */
export interface OverlayOptions {
  /** True when nothing lies beneath these layers; else what they do not mention is unknown. */
  readonly complete: boolean;
  /** The number of the lowest of these layers within its image. */
  readonly firstLayer?: number;
}

/** Whether a node is a directory, explicit or implied. */
export function isDirectory(node: OverlayNode): boolean {
  return !node.removed && (node.entry === undefined || node.entry.type === "directory");
}

/**
 * Merges layers, bottom first (OCI image-spec, layer.md: "Applying Changesets").
 *
 * Markers act on lower layers only, wherever they stand in their tar; anything but a directory over a directory
 * replaces it; a directory over anything else starts empty.
 * @throws ImageError LINK_DANGLING when a hard link's target is nowhere and `complete` is set
 */
export function stackLayers(layers: readonly LayerIndex[], { complete, firstLayer = 0 }: OverlayOptions): Overlay {
  const root: OverlayNode = createNode();
  root.masks = complete;
  const linked = new Set<FileEntry>();
  let danglingLink: string | undefined;

  for (const [position, { entries }] of layers.entries()) {
    for (const entry of entries) {
      if (entry.kind === "whiteout") removeNode(root, entry.path);
      else if (entry.kind === "opaque") emptyDirectory(enterPath(root, entry.path));
    }
    const walker = createWalker(root);
    for (const entry of entries) {
      if (entry.kind !== "entry") continue;
      if (entry.type !== "link") placeEntry(walker, entry.path, entry, firstLayer + position);
      else {
        const target = findNode(root, entry.linkname);
        if (target?.entry === undefined || isDirectory(target)) {
          if (complete) throw dangling(entry);
          danglingLink ??= entry.path;
          placeEntry(walker, entry.path, entry, firstLayer + position);
        } else {
          linked.add(target.entry);
          placeEntry(walker, entry.path, target.entry, target.layer);
        }
      }
    }
  }
  return { root, linked, danglingLink };
}

/** The node at a path, if the layers mention it. */
export function findNode(root: OverlayNode, path: string): OverlayNode | undefined {
  let node: OverlayNode | undefined = root;
  if (path === "") return root;
  for (const name of path.split("/")) {
    node = node.children?.get(name);
    if (node === undefined) return undefined;
  }
  return node;
}

function createNode(): OverlayNode {
  return { entry: undefined, layer: -1, removed: false, masks: false, children: undefined };
}

interface Walker {
  /** The directory of a path other than the root's, made (implied) where missing or where something is in the way. */
  parent(path: string): OverlayNode;
  /** Says that a directory was replaced, so that nothing beneath it may be remembered. */
  forget(): void;
}

/** Remembers directories by path: one look-up instead of one per path component. */
function createWalker(root: OverlayNode): Walker {
  const directories = new Map<string, OverlayNode>();
  return {
    parent(path) {
      const end = path.lastIndexOf("/");
      if (end === -1) return root;
      const folder = path.slice(0, end);
      let node = directories.get(folder);
      if (node === undefined) {
        node = enterPath(root, folder);
        directories.set(folder, node);
      }
      return node;
    },
    forget: () => directories.clear(),
  };
}

function enterPath(root: OverlayNode, path: string): OverlayNode {
  return path === "" ? root : path.split("/").reduce(enterDirectory, root);
}

function enterDirectory(parent: OverlayNode, name: string): OverlayNode {
  parent.children ??= new Map();
  const found = parent.children.get(name);
  if (found !== undefined && isDirectory(found)) return found;
  const made = createNode();
  made.masks = found !== undefined;
  parent.children.set(name, made);
  return made;
}

/**
 * Hides a path of the layers below. Where the bottom is unknown a `removed` node stays behind; the directories made on
 * the way to it imply nothing, since a marker does not create its directory.
 */
function removeNode(root: OverlayNode, path: string): void {
  const names = path.split("/");
  const last = names.pop() as string;
  let node = root;
  let masked = root.masks;
  for (const name of names) {
    let next = node.children?.get(name);
    if (next === undefined) {
      if (masked) return;
      next = createNode();
      (node.children ??= new Map()).set(name, next);
    }
    if (!isDirectory(next)) return;
    masked ||= next.masks;
    node = next;
  }
  if (masked) {
    node.children?.delete(last);
    return;
  }
  const removed = createNode();
  removed.removed = true;
  (node.children ??= new Map()).set(last, removed);
}

function emptyDirectory(node: OverlayNode): void {
  node.children = undefined;
  node.masks = true;
}

function placeEntry(walker: Walker, path: string, entry: FileEntry, layer: number): void {
  if (path === "") {
    const root = walker.parent(path);
    root.entry = entry;
    root.layer = layer;
    return;
  }
  const parent = walker.parent(path);
  parent.children ??= new Map();
  const name = nameOf(path);
  const found = parent.children.get(name);
  if (entry.type === "directory" && found !== undefined && isDirectory(found)) {
    found.entry = entry;
    found.layer = layer;
    return;
  }
  if (found?.children !== undefined) walker.forget();
  const node = createNode();
  node.entry = entry;
  node.layer = layer;
  node.masks = entry.type === "directory" && found !== undefined;
  parent.children.set(name, node);
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function dangling(entry: FileEntry): ImageError {
  return new ImageError("LINK_DANGLING", {
    operation: "stack layers",
    subject: displayPath(entry.path),
    got: `a hard link to ${displayPath(entry.linkname)}, which is not there`,
  });
}
