// What counts as equal: which facts of an entry are compared, which files are volatile, and what a `.pyc` belongs to.
import { parentOf } from "./entry-path.ts";
import type { FileEntry } from "./layer-entry.ts";

/**
 * Files that say when or how an image was built and nothing that its programs act upon; if both images have one of
 * these, the anchor's stays. A star is any name, two leading ones with a slash are any directory.
 */
const DEFAULT_VOLATILE: readonly string[] = ["**/conda-meta/history", "**/conda-meta/*.json"];

/** The overridable rules of a comparison. */
export interface ContentRules {
  /** Path patterns of volatile files. */
  readonly volatile?: readonly string[];
}

/** Compiles the patterns of volatile files into one test of a path. */
export function createVolatileTest({ volatile = DEFAULT_VOLATILE }: ContentRules): (path: string) => boolean {
  if (volatile.length === 0) return () => false;
  const sources = volatile.map((pattern) =>
    pattern
      .replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&")
      .replace(/^\*\*\//, "(?:.*/)?")
      .replaceAll(/(?<![.)])\*/g, "[^/]*"),
  );
  const matcher = new RegExp(`^(?:${sources.join("|")})$`);
  return (path) => matcher.test(path);
}

/** Whether two entries agree in type, mode, owner and xattrs; the mode of a symlink means nothing. */
export function hasSameMetadata(left: FileEntry, right: FileEntry): boolean {
  return (
    left.type === right.type &&
    (left.mode === right.mode || left.type === "symlink") &&
    left.uid === right.uid &&
    left.gid === right.gid &&
    isSameRecord(left.xattrs, right.xattrs)
  );
}

/** Whether two entries have the same content: bytes of files, target of symlinks, numbers of devices. */
export function hasSameContent(left: FileEntry, right: FileEntry): boolean {
  return (
    left.sha256 === right.sha256 &&
    left.size === right.size &&
    (left.type !== "symlink" || left.linkname === right.linkname) &&
    left.deviceMajor === right.deviceMajor &&
    left.deviceMinor === right.deviceMinor
  );
}

/** Whether two entries have the same modification time. */
export function hasSameTime(left: FileEntry, right: FileEntry): boolean {
  return left.mtime === right.mtime && left.mtimeNanos === right.mtimeNanos;
}

/** Whether two compiled Python files differ in nothing but the recorded time of their source. */
export function differsInSourceTimeOnly(left: FileEntry, right: FileEntry): boolean {
  return left.pyc !== undefined && left.pyc.sha256 === right.pyc?.sha256 && left.size === right.size;
}

const CACHED_NAME = /^([^.]+)\.[^/]*\.pyc$/;

/** The source of a compiled Python file (PEP 3147): `a/__pycache__/b.cpython-312.pyc` → `a/b.py`, `a/b.pyc` → `a/b.py`. */
export function sourceOfPyc(path: string): string {
  const folder = parentOf(path);
  const name = path.slice(folder === "" ? 0 : folder.length + 1);
  const isCached = folder === "__pycache__" || folder.endsWith("/__pycache__");
  const stem = isCached ? CACHED_NAME.exec(name)?.[1] : undefined;
  if (stem === undefined) return path.slice(0, -1);
  const parent = parentOf(folder);
  return parent === "" ? `${stem}.py` : `${parent}/${stem}.py`;
}

function isSameRecord(
  left: Readonly<Record<string, string>> | undefined,
  right: Readonly<Record<string, string>> | undefined,
): boolean {
  if (left === right) return true;
  const names = Object.keys(left ?? {});
  return names.length === Object.keys(right ?? {}).length && names.every((name) => left?.[name] === right?.[name]);
}
