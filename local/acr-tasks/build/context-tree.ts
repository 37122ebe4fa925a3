// The build context as a file tree, which COPY reads like that of a stage.
import { lstatSync, readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { createDirectory, type DirectoryNode } from "../../edge-device/layer-tree.ts";

/** Reads a folder; everything belongs to root, contents stay where they are, special files are left out. */
export function readContextTree(folder: string): DirectoryNode {
  const { mode, mtimeMs } = lstatSync(folder);
  const tree = createDirectory({ mode: mode & 0o7777, uid: 0, gid: 0, mtimeMs });
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    const stats = lstatSync(path);
    const metadata = { mode: stats.mode & 0o7777, uid: 0, gid: 0, mtimeMs: stats.mtimeMs };
    if (stats.isDirectory()) tree.children.set(name, readContextTree(path));
    else if (stats.isSymbolicLink()) {
      tree.children.set(name, { type: "symlink", target: readlinkSync(path), ...metadata });
    } else if (stats.isFile()) tree.children.set(name, { type: "file", content: path, ...metadata });
  }
  return tree;
}
