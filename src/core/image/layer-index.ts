// Builds the index of a layer from its tar in one pass, hashing every file.
import { createHash, hash, type Hash } from "node:crypto";
import { cleanPath, meaningOf } from "./entry-path.ts";
import type { FileEntry, LayerEntry, LayerIndex, PycFacts } from "./layer-entry.ts";
import { createTarReader } from "./tar/tar-reader.ts";
import { tarError, type TarHeader } from "./tar/tar-header.ts";

/** How a layer is indexed. */
export interface IndexOptions {
  /** Names the layer in errors. */
  readonly subject: string;
  /** Tells of which files (by header) the content should be handed to `keep`; the buffer is a copy of its own. */
  readonly wants?: (header: TarHeader) => boolean;
  readonly keep?: (entry: FileEntry, content: Buffer) => void;
}

/** A layer with more entries than this is refused, so that an index fits in memory. */
const MAX_ENTRIES = 4_000_000;
/** The `.pyc` rule is not applied to files beyond this size; real ones are hundreds of kilobytes at most. */
const MAX_PYC_BYTES = 8 * 1024 * 1024;
/** PEP 552: magic, flags, source mtime, source size. */
const PYC_HEADER_BYTES = 16;
const ZEROS = Buffer.alloc(4);

/**
 * Indexes a tar.
 * @throws ImageError TAR_INVALID, TAR_TRUNCATED, TAR_UNSUPPORTED, TAR_PATH_ESCAPES
 */
export async function indexTar(tar: AsyncIterable<Buffer>, options: IndexOptions): Promise<LayerIndex> {
  const { entries, write, end } = createIndexer(options);
  for await (const chunk of tar) write(chunk);
  end();
  return { entries };
}

interface Indexer {
  readonly entries: LayerEntry[];
  write(chunk: Buffer): void;
  end(): void;
}

function createIndexer({ subject, wants, keep }: IndexOptions): Indexer {
  const entries: LayerEntry[] = [];
  let header: TarHeader | undefined;
  let isKept = false;
  let isPyc = false;
  let whole: Buffer | undefined;
  let hasher: Hash | undefined;
  let gathered: Buffer[] | undefined;

  const reader = createTarReader(
    {
      entry(next) {
        if (entries.length >= MAX_ENTRIES) throw tarError("TAR_INVALID", subject, `over ${MAX_ENTRIES} entries`);
        header = next;
        whole = hasher = gathered = undefined;
        isKept = next.type === "file" && (wants?.(next) ?? false);
        isPyc = next.type === "file" && next.path.endsWith(".pyc") && next.size <= MAX_PYC_BYTES;
      },
      content(piece) {
        if (header !== undefined && piece.length === header.size) {
          whole = piece;
          return;
        }
        hasher ??= createHash("sha256");
        hasher.update(piece);
        if (isKept || isPyc) (gathered ??= []).push(Buffer.from(piece));
      },
      end() {
        if (header === undefined) return;
        const content = whole ?? (gathered === undefined ? undefined : Buffer.concat(gathered, header.size));
        const sha256 = header.type === "file" ? (hasher?.digest("hex") ?? hash("sha256", whole ?? "", "hex")) : "";
        const entry = toEntry(header, sha256, isPyc ? content : undefined, subject);
        entries.push(entry);
        if (isKept && entry.kind === "entry") keep?.(entry, Buffer.from(content ?? ZEROS.subarray(0, 0)));
      },
    },
    subject,
  );
  return { entries, write: (chunk) => reader.write(chunk), end: () => reader.end() };
}

function toEntry(header: TarHeader, sha256: string, pyc: Buffer | undefined, subject: string): LayerEntry {
  const path = cleanPath(header.path, subject);
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
  };
}

/** Undefined unless the file is validated by its source's time: flags 0. */
function pycFactsOf(content: Buffer): PycFacts | undefined {
  if (content.length < PYC_HEADER_BYTES || content.readUInt32LE(4) !== 0) return undefined;
  const hasher = createHash("sha256").update(content.subarray(0, 8)).update(ZEROS).update(content.subarray(12));
  return { sourceMtime: content.readUInt32LE(8), sha256: hasher.digest("hex") };
}
