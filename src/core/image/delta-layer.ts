// Writes a delta layer: its entries as tar, the tar as gzip, byte for byte the same on every run.
import { createHash, type Hash } from "node:crypto";
import { createGzip } from "node:zlib";
import { Readable } from "node:stream";
import type { DeltaEntries, DeltaFile } from "./delta-entries.ts";
import type { Digest } from "./descriptor.ts";
import { displayPath, whiteoutPath } from "./entry-path.ts";
import { ImageError } from "./image-error.ts";
import type { FileEntry } from "./layer-entry.ts";
import { createTarReader } from "./tar/tar-reader.ts";
import type { TarHeader } from "./tar/tar-header.ts";
import { encodeTarHeader, TAR_END, tarPadding } from "./tar/tar-writer.ts";

/**
 * Supplies the contents of files of one layer, given in the order of their ordinals: the bytes of the first, then of the
 * second, and so on; no piece spans two files.
 */
export type ContentSource = (layer: number, files: readonly DeltaFile[]) => AsyncIterable<Buffer>;

/**
 * Yields the tar of a delta: directories, markers, files, specials, links. Files keep their modification times; markers
 * have none.
 *
 * @throws ImageError LAYER_CORRUPT when a content is not what its entry says
 */
export async function* writeDeltaTar(delta: DeltaEntries, contents: ContentSource): AsyncGenerator<Buffer> {
  for (const { path, entry } of delta.directories) yield encodeTarHeader(toHeader(path, entry));
  for (const path of delta.whiteouts) yield encodeTarHeader(whiteoutHeader(path));
  for (const files of groupByLayer(delta.files)) yield* writeFiles(files, contents);
  for (const { path, entry } of delta.specials) yield encodeTarHeader(toHeader(path, entry));
  for (const { path, target, entry } of delta.links)
    yield encodeTarHeader({ ...toHeader(path, entry), type: "link", size: 0, linkname: target });
  yield TAR_END;
}

async function* writeFiles(files: readonly DeltaFile[], contents: ContentSource): AsyncGenerator<Buffer> {
  const layer = files[0]?.layer ?? 0;
  const filled = files.filter(({ entry }) => entry.size > 0);
  const pieces = (filled.length > 0 ? contents(layer, filled) : Readable.from([]))[
    Symbol.asyncIterator
  ]() as AsyncIterator<Buffer>;
  try {
    for (const { path, entry } of files) {
      yield encodeTarHeader(toHeader(path, entry));
      const hasher = createHash("sha256");
      let missing = entry.size;
      while (missing > 0) {
        const next = await pieces.next();
        if (next.done === true || next.value.length > missing) throw changed(path, entry, "another length");
        hasher.update(next.value);
        missing -= next.value.length;
        yield next.value;
      }
      if (hasher.digest("hex") !== entry.sha256) throw changed(path, entry, "another content");
      yield tarPadding(entry.size);
    }
  } finally {
    await pieces.return?.();
  }
}

function groupByLayer(files: readonly DeltaFile[]): readonly (readonly DeltaFile[])[] {
  return [...Map.groupBy(files, ({ layer }) => layer).values()];
}

function changed(path: string, entry: FileEntry, got: string): ImageError {
  return new ImageError("LAYER_CORRUPT", {
    operation: "write delta entry",
    subject: displayPath(path),
    got,
    want: `${entry.size} bytes with sha256 ${entry.sha256}`,
  });
}

function toHeader(path: string, entry: FileEntry): TarHeader {
  const { kind: _kind, sha256: _sha256, pyc: _pyc, packages: _packages, ...header } = entry;
  return { ...header, path: path === "" ? "./" : path };
}

function whiteoutHeader(path: string): TarHeader {
  return {
    path: whiteoutPath(path),
    type: "file",
    mode: 0o600,
    uid: 0,
    gid: 0,
    size: 0,
    mtime: 0,
    mtimeNanos: 0,
    linkname: "",
    deviceMajor: 0,
    deviceMinor: 0,
  };
}

/**
 * Yields the contents of the wanted entries of a tar, in its order, and stops after the last of them.
 * @throws ImageError as the reader of tars does, and LAYER_CORRUPT when the tar has fewer entries
 */
export async function* extractFiles(
  tar: AsyncIterable<Buffer>,
  ordinals: ReadonlySet<number>,
  subject: string,
): AsyncGenerator<Buffer> {
  let ordinal = -1;
  let left = ordinals.size;
  let pieces: Buffer[] = [];
  const reader = createTarReader(
    {
      entry: () => ordinal++,
      content: (piece) => ordinals.has(ordinal) && pieces.push(piece),
      end: () => ordinals.has(ordinal) && left--,
    },
    subject,
  );
  for await (const chunk of tar) {
    reader.write(chunk);
    yield* pieces;
    pieces = [];
    if (left === 0) return;
  }
  throw new ImageError("LAYER_CORRUPT", { operation: "extract files of", subject, got: `${left} files too few` });
}

/** A gzip stream with its digests, which are complete once `blob` has been read to its end. */
export interface PackedLayer {
  readonly blob: AsyncIterable<Buffer>;
  /** Digest and size of the gzip, and the digest of the tar within. */
  facts(): { readonly digest: Digest; readonly size: number; readonly diffId: Digest };
}

/** Every byte on a device's link costs more than the time this takes. */
const GZIP_LEVEL = 9;
/** Byte 9 of a gzip header names the operating system; 255 is "unknown" (RFC 1952), whatever machine this runs on. */
const GZIP_OS_OFFSET = 9;
const GZIP_OS_UNKNOWN = 0xff;

/** Compresses a tar: no name, no time, fixed level. */
export function packLayer(tar: AsyncIterable<Buffer>): PackedLayer {
  const inner = createHash("sha256");
  const outer = createHash("sha256");
  let size = 0;
  let facts: ReturnType<PackedLayer["facts"]> | undefined;

  async function* pack(): AsyncGenerator<Buffer> {
    const gzip = Readable.from(tap(tar, inner)).compose(createGzip({ level: GZIP_LEVEL, chunkSize: 256 * 1024 }));
    for await (const value of gzip) {
      const chunk = value as Buffer;
      if (size <= GZIP_OS_OFFSET && size + chunk.length > GZIP_OS_OFFSET)
        chunk[GZIP_OS_OFFSET - size] = GZIP_OS_UNKNOWN;
      size += chunk.length;
      outer.update(chunk);
      yield chunk;
    }
    facts = { digest: `sha256:${outer.digest("hex")}`, size, diffId: `sha256:${inner.digest("hex")}` };
  }

  return {
    blob: pack(),
    facts() {
      if (facts === undefined) throw new Error("pack layer: facts asked for before the blob was read to its end");
      return facts;
    },
  };
}

async function* tap(source: AsyncIterable<Buffer>, hasher: Hash): AsyncGenerator<Buffer> {
  for await (const chunk of source) {
    hasher.update(chunk);
    yield chunk;
  }
}
