// Paths inside a layer: cleaned, kept inside the root, and told apart from whiteout markers.
import { tarError } from "./tar/tar-header.ts";

const WHITEOUT_PREFIX = ".wh.";
const OPAQUE_MARKER = ".wh..wh..opq";
/** Prefix of aufs' own bookkeeping files, which are no content (OCI image-spec, layer.md, "Whiteouts"). */
const AUFS_PREFIX = ".wh..wh.";

/**
 * Cleans a path of an archive: no leading `/` or `./`, no empty, `.` or `..` parts; the root is the empty string.
 *
 * Paths are byte strings (one character per byte).
 * @throws ImageError TAR_PATH_ESCAPES when it leads out of the root, TAR_INVALID on a NUL
 */
export function cleanPath(path: string, subject: string): string {
  if (isClean(path)) return path;
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined)
      throw tarError("TAR_PATH_ESCAPES", subject, JSON.stringify(displayPath(path)), "a path inside the root");
  }
  const clean = parts.join("/");
  if (clean.includes("\0")) throw tarError("TAR_INVALID", subject, `a NUL in ${JSON.stringify(displayPath(clean))}`);
  return clean;
}

/** Needs cleaning if it starts or ends with a slash or has an empty, `.` or `..` part. */
const UNCLEAN = /^\/|\/$|\/\/|(?:^|\/)\.{1,2}(?:\/|$)|\0/;

function isClean(path: string): boolean {
  return !UNCLEAN.test(path);
}

/** What a clean path stands for: a file system entry, the removal of one, or an emptied directory. */
export type Meaning =
  | { readonly kind: "entry" }
  | { readonly kind: "whiteout"; readonly path: string }
  | { readonly kind: "opaque"; readonly path: string }
  | { readonly kind: "bookkeeping" };

const ENTRY: Meaning = { kind: "entry" };

/**
 * Tells whiteout markers from entries (OCI image-spec, layer.md).
 * @throws ImageError TAR_PATH_ESCAPES for a marker that would remove `.`, `..` or nothing
 */
export function meaningOf(path: string, subject: string): Meaning {
  const slash = path.lastIndexOf("/");
  if (!path.startsWith(WHITEOUT_PREFIX, slash + 1)) return ENTRY;
  const name = path.slice(slash + 1);
  const parent = parentOf(path);
  if (name === OPAQUE_MARKER) return { kind: "opaque", path: parent };
  if (name.startsWith(AUFS_PREFIX)) return { kind: "bookkeeping" };
  const removed = name.slice(WHITEOUT_PREFIX.length);
  if (removed === "" || removed === "." || removed === "..")
    throw tarError(
      "TAR_PATH_ESCAPES",
      subject,
      `whiteout ${JSON.stringify(displayPath(path))}`,
      "a whiteout of a name",
    );
  return { kind: "whiteout", path: parent === "" ? removed : `${parent}/${removed}` };
}

/** The marker that removes `path` from the layers below. */
export function whiteoutPath(path: string): string {
  const parent = parentOf(path);
  const name = path.slice(parent === "" ? 0 : parent.length + 1);
  return parent === "" ? WHITEOUT_PREFIX + name : `${parent}/${WHITEOUT_PREFIX}${name}`;
}

/** The directory of a clean path; of a top-level name the root, which is the empty string. */
export function parentOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash === -1 ? "" : path.slice(0, slash);
}

/** The byte string of a path written in UTF-8. */
export function bytePath(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}

/** A byte string as people read it; bytes that are not UTF-8 become U+FFFD. */
export function displayPath(path: string): string {
  return Buffer.from(path, "latin1").toString("utf8");
}
