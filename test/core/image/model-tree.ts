// A second, deliberately simple idea of layers: a flat map of paths, to judge the real one by.

/** What one inode of the model is; two paths with the same object are hard links of each other. */
export interface ModelInode {
  readonly type: "file" | "symlink" | "directory" | "fifo" | "character-device" | "block-device";
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Content of a file, target of a symlink, numbers of a device. */
  readonly content: string;
  readonly xattrs: Readonly<Record<string, string>>;
  readonly mtime: number;
}

/** One entry of a model layer. */
export type ModelEntry =
  | { readonly kind: "inode"; readonly path: string; readonly inode: ModelInode }
  | { readonly kind: "link"; readonly path: string; readonly target: string }
  | { readonly kind: "whiteout"; readonly path: string }
  | { readonly kind: "opaque"; readonly path: string };

/** A file system: every path but the root's. */
export type ModelTree = ReadonlyMap<string, ModelInode>;

/** The directory that appears where a layer has a path but not the directories above it. */
const IMPLIED: Omit<ModelInode, "type"> & { readonly type: "directory" } = {
  type: "directory",
  mode: 0o755,
  uid: 0,
  gid: 0,
  content: "",
  xattrs: {},
  mtime: 0,
};

/** The tree after a layer: first all its markers, which concern the layers below, then its entries in order. */
export function applyModelLayer(below: ModelTree, layer: readonly ModelEntry[]): ModelTree {
  const tree = new Map(below);
  for (const entry of layer) {
    if (entry.kind === "whiteout") removeTree(tree, entry.path);
    if (entry.kind === "opaque") {
      removeBeneath(tree, entry.path);
      if (tree.get(entry.path)?.type !== "directory") makeDirectories(tree, `${entry.path}/.`);
    }
  }
  for (const entry of layer) {
    if (entry.kind !== "inode" && entry.kind !== "link") continue;
    const inode = entry.kind === "inode" ? entry.inode : tree.get(entry.target);
    if (inode === undefined || (entry.kind === "link" && inode.type === "directory"))
      throw new Error(`model: link ${entry.path} has no target`);
    makeDirectories(tree, entry.path);
    const isMerged = inode.type === "directory" && tree.get(entry.path)?.type === "directory";
    if (!isMerged) removeTree(tree, entry.path);
    tree.set(entry.path, inode);
  }
  return tree;
}

function makeDirectories(tree: Map<string, ModelInode>, path: string): void {
  const names = path.split("/").slice(0, -1);
  for (const [at] of names.entries()) {
    const parent = names.slice(0, at + 1).join("/");
    if (tree.get(parent)?.type === "directory") continue;
    removeTree(tree, parent);
    tree.set(parent, { ...IMPLIED });
  }
}

function removeTree(tree: Map<string, ModelInode>, path: string): void {
  tree.delete(path);
  removeBeneath(tree, path);
}

function removeBeneath(tree: Map<string, ModelInode>, path: string): void {
  for (const other of tree.keys()) if (other.startsWith(`${path}/`)) tree.delete(other);
}

/** One line per path with everything that counts; equal trees give equal lists. */
export function describeTree(tree: ModelTree): string[] {
  const firstPath = new Map<ModelInode, string>();
  for (const path of [...tree.keys()].sort()) {
    const inode = tree.get(path) as ModelInode;
    if (!firstPath.has(inode)) firstPath.set(inode, path);
  }
  return [...tree.keys()].sort().map((path) => {
    const inode = tree.get(path) as ModelInode;
    const { type, mode, uid, gid, content, xattrs } = inode;
    const links = type === "directory" ? path : firstPath.get(inode);
    const sorted = Object.entries(xattrs).sort(([left], [right]) => (left < right ? -1 : 1));
    return JSON.stringify([path, type, type === "symlink" ? 0 : mode, uid, gid, content, sorted, links]);
  });
}
