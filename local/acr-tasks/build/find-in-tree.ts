// Looks paths up in a file tree as a process inside it would: links are followed, the root is the end.
import { createDirectory, type DirectoryNode, type TreeNode } from "../../edge-device/layer-tree.ts";

/** Where a path leads: the names without links, and what is there, if anything. */
export interface FoundPath {
  readonly names: readonly string[];
  readonly node: TreeNode | undefined;
}

/** As many links as Linux follows. */
const MAX_LINKS = 40;

/**
 * Resolves a path from the root; missing parts stay as they are named. Undefined when a file is in the way of more names
 * or links go in circles.
 */
export function findInTree(root: DirectoryNode, path: string): FoundPath | undefined {
  const waiting = path.split("/").toReversed();
  let trail: { readonly name: string; readonly node: TreeNode | undefined }[] = [];
  let links = 0;
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (name === "" || name === ".") continue;
    if (name === "..") {
      trail.pop();
      continue;
    }
    const here = trail.length === 0 ? root : trail.at(-1)?.node;
    if (here !== undefined && here.type !== "directory") return undefined;
    const node = here?.children.get(name);
    if (node?.type !== "symlink") {
      trail.push({ name, node });
      continue;
    }
    if (++links > MAX_LINKS) return undefined;
    if (node.target.startsWith("/")) trail = [];
    waiting.push(...node.target.split("/").toReversed());
  }
  const last = trail.at(-1);
  return { names: trail.map(({ name }) => name), node: last === undefined ? root : last.node };
}

/** The directory at `names` of a layer to be, made with what `like` has of the same names, or as `fresh`. */
export function enterLayer(
  layer: DirectoryNode,
  like: DirectoryNode,
  names: readonly string[],
  fresh: () => NonNullable<DirectoryNode["metadata"]>,
): DirectoryNode {
  let here = layer;
  let model: TreeNode | undefined = like;
  for (const name of names) {
    model = model?.type === "directory" ? model.children.get(name) : undefined;
    const found = here.children.get(name);
    const metadata = model?.type === "directory" ? (model.metadata ?? fresh()) : fresh();
    const next = found?.type === "directory" ? found : createDirectory(metadata);
    here.children.set(name, next);
    here = next;
  }
  return here;
}
