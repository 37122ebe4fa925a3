// Reads a folder tree as comparable facts: type, mode, owner, content and links, but no times.
import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, readlinkSync, type Stats } from "node:fs";
import { join } from "node:path";

/** What of a file's content is compared; all of it unless told. */
type ContentOf = (path: string, content: Buffer) => Buffer;

/** One line of facts per path relative to `root`; hard links name the first path of their group. */
export function readTreeFacts(
  root: string,
  contentOf: ContentOf = (_path, content) => content,
): Record<string, string> {
  const facts: Record<string, string> = {};
  const firstPaths = new Map<string, string>();
  const visit = (path: string): void => {
    const stats = lstatSync(join(root, path));
    facts[path === "" ? "/" : path] = describe(join(root, path), path, stats, firstPaths, contentOf);
    if (!stats.isDirectory()) return;
    for (const name of readdirSync(join(root, path)).sort()) visit(join(path, name));
  };
  visit("");
  return facts;
}

function describe(
  absolute: string,
  path: string,
  stats: Stats,
  firstPaths: Map<string, string>,
  contentOf: ContentOf,
): string {
  const owner = `${(stats.mode & 0o7777).toString(8)} ${stats.uid}:${stats.gid}`;
  if (stats.isDirectory()) return `directory ${owner}`;
  if (stats.isSymbolicLink()) return `symlink ${stats.uid}:${stats.gid} ${readlinkSync(absolute)}`;
  if (!stats.isFile()) return `special ${owner} ${stats.mode & 0o170000} ${stats.rdev}`;
  const content = contentOf(path, readFileSync(absolute));
  const digest = createHash("sha256").update(content).digest("hex").slice(0, 16);
  const inode = `${stats.dev}:${stats.ino}`;
  const first = stats.nlink > 1 ? (firstPaths.get(inode) ?? path) : path;
  firstPaths.set(inode, first);
  return `file ${owner} ${stats.size} ${digest}${first === path ? "" : ` linked to ${first}`}`;
}
