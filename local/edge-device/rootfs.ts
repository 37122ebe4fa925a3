// Root filesystems on disk: a stacked tree laid out with hard links, and paths looked up inside it as a container would.
import {
  chmodSync,
  copyFileSync,
  linkSync,
  lchownSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
} from "node:fs";
import { join } from "node:path";
import type { DirectoryNode, EntryMetadata, TreeNode } from "./layer-tree.ts";

/**
 * Lays `tree` out in `folder`, which must not exist.
 *
 * Files are hard links to the layers' content files, so that 10,000 of them cost no bytes; a module that writes into
 * its root filesystem in place therefore changes the file for every image that shares it. Directories keep the owner's
 * permissions so that they can be removed again.
 */
export function layOut(tree: DirectoryNode, folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const [name, node] of tree.children) place(node, join(folder, name));
  // Last, because placing the children moves a directory's modification time.
  if (tree.metadata === undefined) return;
  applyOwner(folder, tree.metadata);
  chmodSync(folder, tree.metadata.mode | 0o700);
  utimesSync(folder, tree.metadata.mtimeMs / 1000, tree.metadata.mtimeMs / 1000);
}

function place(node: TreeNode, path: string): void {
  switch (node.type) {
    case "directory":
      layOut(node, path);
      break;
    case "symlink":
      symlinkSync(node.target, path);
      applyOwner(path, node);
      lutimesSync(path, node.mtimeMs / 1000, node.mtimeMs / 1000);
      break;
    case "file":
      linkOrCopy(node, path);
  }
}

function linkOrCopy(node: EntryMetadata & { readonly content: string }, path: string): void {
  try {
    linkSync(node.content, path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== "EMLINK" && code !== "EPERM" && code !== "ENOTSUP") throw error;
    copyFileSync(node.content, path);
    applyOwner(path, node);
    chmodSync(path, node.mode);
    utimesSync(path, node.mtimeMs / 1000, node.mtimeMs / 1000);
  }
}

function applyOwner(path: string, { uid, gid }: EntryMetadata): void {
  if (process.getuid?.() === 0) lchownSync(path, uid, gid);
}

/**
 * The real path of an absolute path of the image, or undefined when nothing is there. Symbolic links are followed with
 * `root` as `/`, as chroot does; nothing outside `root` is ever reached.
 */
export function resolveInRoot(root: string, path: string): string | undefined {
  const waiting = path.split("/");
  let trail: string[] = [];
  for (let links = 0; waiting.length > 0;) {
    const name = waiting.shift() as string;
    if (name === "" || name === ".") continue;
    if (name === "..") {
      trail.pop();
      continue;
    }
    const here = join(root, ...trail, name);
    const found = lstatSync(here, { throwIfNoEntry: false });
    if (found === undefined) return undefined;
    if (!found.isSymbolicLink()) {
      if (!found.isDirectory() && waiting.some((part) => part !== "" && part !== ".")) return undefined;
      trail.push(name);
      continue;
    }
    if (++links > 40) return undefined;
    const target = readlinkSync(here);
    if (target.startsWith("/")) trail = [];
    waiting.unshift(...target.split("/"));
  }
  return join(root, ...trail);
}
