// Unpacks an uploaded source into a run's workspace: nothing gets out of the folder, sizes are capped.
import {
  createReadStream,
  createWriteStream,
  lstatSync,
  mkdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  chmodSync,
  linkSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { type Extract, extract } from "tar-stream";
import { RunError } from "./run-error.ts";

type Entry = Extract extends AsyncIterable<infer Item> ? Item : never;

/** More than this in one source is refused: a bomb, not a build context. */
const MAX_BYTES = 2 * 1024 ** 3;
const MAX_ENTRIES = 200_000;

const invalid = (got: string, want?: string, cause?: unknown): RunError =>
  new RunError("SOURCE_INVALID", { operation: "unpack", subject: "source", got, ...(want && { want }), cause });

/**
 * Unpacks a tar.gz into an existing folder; owners are not kept, devices are left out.
 * @throws RunError SOURCE_INVALID
 */
export async function extractSource(file: string, folder: string): Promise<void> {
  const tar = extract();
  const feeding = pipeline(createReadStream(file), createGunzip(), tar);
  feeding.catch(() => undefined);
  let bytes = 0;
  let entries = 0;
  try {
    for await (const entry of tar) {
      bytes += entry.header.size ?? 0;
      entries += 1;
      if (bytes > MAX_BYTES) throw invalid(`more than ${MAX_BYTES} bytes`);
      if (entries > MAX_ENTRIES) throw invalid(`more than ${MAX_ENTRIES} entries`);
      await place(entry, folder);
    }
    await feeding;
  } catch (error) {
    if (error instanceof RunError) throw error;
    throw invalid(error instanceof Error ? error.message : String(error), "a tar.gz", error);
  }
}

async function place(entry: Entry, folder: string): Promise<void> {
  const { header } = entry;
  const names = splitPath(header.name);
  if (names.length === 0) {
    entry.resume();
    return;
  }
  const path = join(folder, ...names);
  makeFolders(folder, names.slice(0, -1));
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (header.type === "directory") {
    if (found?.isDirectory() !== true) {
      if (found !== undefined) rmSync(path);
      mkdirSync(path);
    }
    chmodSync(path, header.mode & 0o777);
  } else {
    if (found !== undefined) rmSync(path, { recursive: true });
    if (header.type === "symlink") symlinkSync(header.linkname ?? "", path);
    else if (header.type === "link") linkSync(insideFolder(folder, header.linkname ?? ""), path);
    else if (header.type === "file" || header.type === "contiguous-file") {
      await pipeline(entry, createWriteStream(path, { mode: 0o600, flags: "wx" }));
      chmodSync(path, header.mode & 0o777);
      utimesSync(path, header.mtime, header.mtime);
      return;
    }
  }
  entry.resume();
}

/** A tar path as names; what leads out of the folder is refused. */
function splitPath(path: string): string[] {
  const names = path.split("/").filter((name) => name !== "" && name !== ".");
  if (names.includes("..") || path.includes("\0")) {
    throw invalid(`the path ${JSON.stringify(path.slice(0, 200))}`, "paths inside the source");
  }
  return names;
}

/** Makes the folders that lead to an entry, never through a link. */
function makeFolders(folder: string, names: readonly string[]): void {
  let path = folder;
  for (const name of names) {
    path = join(path, name);
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found === undefined) mkdirSync(path);
    else if (!found.isDirectory()) throw invalid(`an entry below ${JSON.stringify(name)}, which is no folder`);
  }
}

/** The target of a hard link: a file that was unpacked before. */
function insideFolder(folder: string, linkname: string): string {
  const names = splitPath(linkname);
  const path = join(folder, ...names);
  let parent = dirname(path);
  while (parent.length > folder.length) {
    if (lstatSync(parent, { throwIfNoEntry: false })?.isDirectory() !== true) throw invalid("a hard link to nothing");
    parent = dirname(parent);
  }
  if (names.length === 0 || lstatSync(path, { throwIfNoEntry: false })?.isFile() !== true) {
    throw invalid("a hard link to nothing");
  }
  return path;
}
