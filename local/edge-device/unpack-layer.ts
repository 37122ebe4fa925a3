// Unpacks one layer's tar into numbered content files and a tree of what they are called: no path of the tar touches the disk.
import { createHash } from "node:crypto";
import { closeSync, createWriteStream, fchmodSync, fchownSync, futimesSync, openSync, writeSync } from "node:fs";
import { chmod, chown, utimes } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { PassThrough, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import type { Extract } from "tar-stream";
import { extract } from "tar-stream";
import type { DirectoryNode, EntryMetadata } from "./layer-tree.ts";
import { addEntry, createDirectory } from "./layer-tree.ts";
import type { LayerCompression } from "./manifest.ts";
import { PullError } from "./pull-error.ts";

/** A layer's blob and where its files go. */
export interface UnpackOptions {
  readonly blob: Readable;
  readonly compression: LayerCompression;
  /** What the uncompressed tar must hash to. */
  readonly diffId: string;
  /** An existing, empty folder. */
  readonly folder: string;
}

/** An unpacked layer; `notes` say what could not be carried over, e.g. device nodes. */
export interface UnpackedLayer {
  readonly tree: DirectoryNode;
  readonly notes: readonly string[];
}

type Entry = Extract extends AsyncIterable<infer Item> ? Item : never;

const CHUNK = 256 << 10;
/** Files up to this many bytes are written in one go. */
const SMALL_FILE = 1 << 20;

function decompressor(compression: LayerCompression): Transform {
  if (compression === "gzip") return createGunzip({ chunkSize: CHUNK });
  if (compression === "zstd") return createZstdDecompress({ chunkSize: CHUNK });
  return new PassThrough();
}

/**
 * Unpacks a layer.
 *
 * Owners are applied only when running as root and extended attributes never: Node has no call for them. Device nodes
 * and FIFOs are skipped. Each is noted.
 * @throws PullError LAYER_INVALID when it is not a tar, is cut off, or does not hash to `diffId`; ENTRY_ESCAPES
 */
export async function unpackLayer({ blob, compression, diffId, folder }: UnpackOptions): Promise<UnpackedLayer> {
  const tree = createDirectory();
  const notes = new Set<string>();
  const hash = createHash("sha256");
  const tap = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
  const tar = extract();
  const feeding = pipeline(blob, decompressor(compression), tap, tar);
  let nextFile = 0;
  try {
    for await (const entry of tar) {
      const content = join(folder, `${nextFile}`);
      if (await addTarEntry(tree, entry, content, notes)) nextFile++;
    }
    await feeding;
  } catch (error) {
    await feeding.catch(() => undefined);
    if (error instanceof PullError) throw error;
    throw new PullError("LAYER_INVALID", { operation: "unpack", subject: diffId, got: String(error), cause: error });
  }
  const got = `sha256:${hash.digest("hex")}`;
  if (got !== diffId)
    throw new PullError("LAYER_INVALID", { operation: "unpack", subject: "layer", got, want: diffId });
  if (process.getuid?.() !== 0) notes.add("owners not applied: not running as root");
  return { tree, notes: [...notes].sort() };
}

/** Adds a tar entry to the tree; true when it used the content file. */
async function addTarEntry(tree: DirectoryNode, entry: Entry, content: string, notes: Set<string>): Promise<boolean> {
  const { header } = entry;
  const { name: path, linkname: target } = header;
  const metadata: EntryMetadata = {
    mode: header.mode & 0o7777,
    uid: header.uid,
    gid: header.gid,
    mtimeMs: header.mtime.getTime(),
  };
  if (Object.keys(header.pax ?? {}).some((key) => key.startsWith("SCHILY.xattr."))) {
    notes.add("extended attributes not applied");
  }
  switch (header.type) {
    case "file":
    case "contiguous-file":
      addEntry(tree, { type: "file", path, content, ...metadata });
      await writeContent(entry, header.size, content, metadata);
      return true;
    case "directory":
      addEntry(tree, { type: "directory", path, ...metadata });
      break;
    case "symlink":
      addEntry(tree, { type: "symlink", path, target, ...metadata });
      break;
    case "link":
      addEntry(tree, { type: "link", path, target });
      break;
    case "character-device":
    case "block-device":
    case "fifo":
      notes.add("device nodes and FIFOs skipped");
      break;
    default: {
      const subject = JSON.stringify(path);
      throw new PullError("LAYER_INVALID", {
        operation: "unpack",
        subject,
        got: `an entry of type ${String(header.type)}`,
      });
    }
  }
  entry.resume();
  return false;
}

async function writeContent(entry: Entry, size: number, path: string, metadata: EntryMetadata): Promise<void> {
  const { mode, uid, gid, mtimeMs } = metadata;
  const isRoot = process.getuid?.() === 0;
  if (size > SMALL_FILE) {
    await pipeline(entry, createWriteStream(path, { mode: 0o600 }));
    if (isRoot) await chown(path, uid, gid);
    await chmod(path, mode);
    await utimes(path, mtimeMs / 1000, mtimeMs / 1000);
    return;
  }
  const chunks: Buffer[] = [];
  for await (const chunk of entry) chunks.push(chunk as Buffer);
  // Synchronous on purpose: for thousands of small files each trip to the thread pool costs more than the call.
  const file = openSync(path, "wx", 0o600);
  try {
    for (const chunk of chunks) writeSync(file, chunk);
    if (isRoot) fchownSync(file, uid, gid);
    fchmodSync(file, mode);
    futimesSync(file, mtimeMs / 1000, mtimeMs / 1000);
  } finally {
    closeSync(file);
  }
}
