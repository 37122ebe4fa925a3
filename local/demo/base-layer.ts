// The demo image's base: the Node that runs this very process, the shared libraries it needs, and a minimal /etc.
import { realpathSync, statSync } from "node:fs";
import { dirname } from "node:path";
import type { LayerEntry } from "./layer.ts";

/** Where the image keeps its Node. */
export const NODE_PATH = "/usr/local/bin/node";

/** The base never changes between versions, so neither do its times: 2026-01-05T06:00:00Z. */
const BASE_MTIME = Date.UTC(2026, 0, 5, 6) / 1000;

const ETC: Readonly<Record<string, string>> = {
  "etc/group": "root:x:0:\nnogroup:x:65534:\n",
  "etc/hosts": "127.0.0.1 localhost\n",
  "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
  "etc/os-release": 'ID=lighter-demo\nNAME="Lighter demo"\nPRETTY_NAME="Lighter demo base"\nVERSION_ID=1\n',
  "etc/passwd": "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n",
};

/**
 * The entries of the base layer, parents first.
 *
 * Node and its libraries are this machine's own, at the paths its loader expects, so that the image runs both as a
 * container and as a plain child process started from an unpacked root.
 */
export function planBaseLayer(): LayerEntry[] {
  const node = realpathSync(process.execPath);
  const files = new Map<string, LayerEntry>();
  for (const [path, text] of Object.entries(ETC)) {
    files.set(path, { path, type: "file", mode: 0o644, mtime: BASE_MTIME, content: Buffer.from(text) });
  }
  for (const [path, source] of [
    [NODE_PATH, node] as const,
    ...sharedLibraries().map((path) => [path, path] as const),
  ]) {
    const name = path.slice(1);
    files.set(name, { path: name, type: "file", mode: 0o755, mtime: BASE_MTIME, source, size: statSync(source).size });
  }
  return [...directoriesOf(files.keys(), BASE_MTIME, ["root", "tmp", "var"]), ...sortByPath(files.values())];
}

/** The libraries the running Node has loaded, loader included; none where they are not files (macOS). */
function sharedLibraries(): string[] {
  const reporter: NodeJS.ProcessReport & { excludeNetwork?: boolean } = process.report;
  reporter.excludeNetwork = true; // A report otherwise looks up the host names of open sockets.
  const report = reporter.getReport() as { sharedObjects?: readonly string[] };
  return (report.sharedObjects ?? []).filter(
    (path) => path.startsWith("/") && !path.endsWith(".node") && statSync(path, { throwIfNoEntry: false })?.isFile(),
  );
}

/** Directory entries for every parent of `paths`, and for `extra`, parents before children. */
export function directoriesOf(paths: Iterable<string>, mtime: number, extra: readonly string[] = []): LayerEntry[] {
  const directories = new Set(extra);
  for (const path of paths) {
    for (let parent = dirname(path); parent !== "."; parent = dirname(parent)) directories.add(parent);
  }
  return [...directories]
    .sort()
    .map((path) => ({ path, type: "directory", mode: path === "tmp" ? 0o1777 : 0o755, mtime }));
}

/** Entries in the order of their paths, which does not depend on the machine's locale or file system. */
function sortByPath(entries: Iterable<LayerEntry>): LayerEntry[] {
  return [...entries].sort((a, b) => (a.path < b.path ? -1 : 1));
}
