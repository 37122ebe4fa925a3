// Builds the index of a layer from its tar in one pass, hashing every file.
import { createHash, hash, type Hash } from "node:crypto";
import { cleanPath, meaningOf } from "./entry-path.ts";
import type { FileEntry, LayerEntry, LayerIndex, PycFacts } from "./layer-entry.ts";
import type { InstalledPackage, PackageRecords } from "./packages/installed-package.ts";
import { findRecords, MAX_RECORD_BYTES } from "./packages/package-records.ts";
import { createTarReader, type TarReader } from "./tar/tar-reader.ts";
import { tarError, type TarHeader } from "./tar/tar-header.ts";

/** Hears of every file system entry while a layer is indexed, files with their content. */
export interface KeepFile {
  /** Contents beyond this size are not offered. */
  readonly maxBytes: number;
  /** `content` is valid during the call only, and undefined for what is no file or too large. */
  offer(entry: FileEntry, content: Buffer | undefined): void;
}

/** How a layer is indexed. */
export interface IndexOptions {
  /** Names the layer in errors. */
  readonly subject: string;
  readonly keep?: KeepFile;
}

/** A layer with more entries than this is refused, so that an index fits in memory. */
const MAX_ENTRIES = 4_000_000;
/** Linux takes no longer paths (PATH_MAX). */
const MAX_PATH_BYTES = 4096;
/** Trees are walked by recursion; real ones are some fifty directories deep. */
const MAX_PATH_PARTS = 512;
/** The `.pyc` rule is not applied to files beyond this size; real ones are hundreds of kilobytes at most. */
const MAX_PYC_BYTES = 8 * 1024 * 1024;
/** No more packages than this are remembered of a layer, so that records cannot swell its index. */
const MAX_PACKAGES = 200_000;
/** PEP 552: magic, flags, source mtime, source size. */
const PYC_HEADER_BYTES = 16;
const ZEROS = Buffer.alloc(4);
const EMPTY = Buffer.alloc(0);

/**
 * Indexes a tar.
 * @throws ImageError TAR_INVALID, TAR_TRUNCATED, TAR_UNSUPPORTED, TAR_PATH_ESCAPES
 */
export async function indexTar(tar: AsyncIterable<Buffer>, options: IndexOptions): Promise<LayerIndex> {
  const entries: LayerEntry[] = [];
  const reader = createIndexer(entries, options);
  for await (const chunk of tar) reader.write(chunk);
  reader.end();
  return { entries };
}

/** Creates a tar reader that adds to `entries`. Most files lie whole within one chunk and are hashed without a copy. */
function createIndexer(entries: LayerEntry[], { subject, keep }: IndexOptions): TarReader {
  let header: TarHeader | undefined;
  let isGathered = false;
  let isPyc = false;
  let records: PackageRecords | undefined;
  let packagesLeft = MAX_PACKAGES;
  let whole: Buffer | undefined;
  let hasher: Hash | undefined;
  let pieces: Buffer[] | undefined;

  return createTarReader(
    {
      entry(next) {
        if (entries.length >= MAX_ENTRIES) throw tarError("TAR_INVALID", subject, `over ${MAX_ENTRIES} entries`);
        header = next;
        whole = hasher = pieces = undefined;
        isPyc = next.type === "file" && next.path.endsWith(".pyc") && next.size <= MAX_PYC_BYTES;
        records = next.type === "file" && next.size <= MAX_RECORD_BYTES ? findRecords(next.path) : undefined;
        isGathered = isPyc || records !== undefined || (keep !== undefined && next.size <= keep.maxBytes);
      },
      content(piece) {
        if (piece.length === header?.size) {
          whole = piece;
          return;
        }
        hasher ??= createHash("sha256");
        hasher.update(piece);
        if (isGathered) (pieces ??= []).push(Buffer.from(piece));
      },
      end() {
        if (header === undefined) return;
        const isFile = header.type === "file";
        const content = whole ?? (pieces === undefined ? EMPTY : Buffer.concat(pieces, header.size));
        const sha256 = isFile ? (hasher?.digest("hex") ?? hash("sha256", content, "hex")) : "";
        const packages = records?.read(content.toString("utf8"), header.path).slice(0, packagesLeft);
        packagesLeft -= packages?.length ?? 0;
        const entry = toEntry(header, { sha256, pyc: isPyc ? content : undefined, packages }, subject);
        entries.push(entry);
        if (entry.kind === "entry" && keep !== undefined)
          keep.offer(entry, isFile && entry.size <= keep.maxBytes ? content : undefined);
      },
    },
    subject,
  );
}

/** What an entry's content comes to. */
interface ContentFacts {
  readonly sha256: string;
  readonly pyc: Buffer | undefined;
  readonly packages: readonly InstalledPackage[] | undefined;
}

function toEntry(header: TarHeader, { sha256, pyc, packages }: ContentFacts, subject: string): LayerEntry {
  const path = cleanPath(header.path, subject);
  if (path.length > MAX_PATH_BYTES)
    throw tarError("TAR_INVALID", subject, `a path of ${path.length} bytes`, `at most ${MAX_PATH_BYTES}`);
  if (path.length > 2 * MAX_PATH_PARTS && path.split("/").length > MAX_PATH_PARTS)
    throw tarError("TAR_INVALID", subject, "a path of more directories", `at most ${MAX_PATH_PARTS}`);
  const meaning = meaningOf(path, subject);
  if (meaning.kind !== "entry") return meaning.kind === "bookkeeping" ? { kind: "bookkeeping", path } : meaning;
  if (path === "" && header.type !== "directory")
    throw tarError("TAR_PATH_ESCAPES", subject, `a ${header.type} in place of the root`, "a directory");
  const linkname = header.type === "link" ? cleanPath(header.linkname, subject) : header.linkname;
  const facts = pyc === undefined ? undefined : pycFactsOf(pyc);
  const { type, mode, uid, gid, size, mtime, mtimeNanos, deviceMajor, deviceMinor, xattrs } = header;
  return {
    kind: "entry",
    path,
    type,
    mode,
    uid,
    gid,
    size,
    mtime,
    mtimeNanos,
    linkname,
    deviceMajor,
    deviceMinor,
    sha256,
    ...(xattrs === undefined ? {} : { xattrs }),
    ...(facts === undefined ? {} : { pyc: facts }),
    ...(packages === undefined || packages.length === 0 ? {} : { packages }),
  };
}

/** Undefined unless the file is validated by its source's time: flags 0. */
function pycFactsOf(content: Buffer): PycFacts | undefined {
  if (content.length < PYC_HEADER_BYTES || content.readUInt32LE(4) !== 0) return undefined;
  const hasher = createHash("sha256").update(content.subarray(0, 8)).update(ZEROS).update(content.subarray(12));
  return { sourceMtime: content.readUInt32LE(8), sha256: hasher.digest("hex") };
}
