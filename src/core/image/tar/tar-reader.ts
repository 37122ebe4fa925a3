// A streaming tar reader: bytes are pushed in, headers and content come out; memory is bounded by one header.
import { parsePax, paxInteger, paxTime, xattrsOf, type PaxRecords } from "./pax.ts";
import { BLOCK, readHeaderBlock, tarError, typeOf, type RawHeader, type TarHeader } from "./tar-header.ts";

/** What the reader reports, in the order of the archive: entry, then its content in pieces, then end. */
export interface TarHandler {
  entry(header: TarHeader): void;
  /** A piece of the entry's content; the buffer belongs to the reader's caller, so keep a copy, not the piece. */
  content(piece: Buffer): void;
  /** The entry's content is complete. */
  end(): void;
}

/** A reader in progress. */
export interface TarReader {
  write(chunk: Buffer): void;
  /** Says that no more bytes follow. @throws ImageError TAR_TRUNCATED inside an entry */
  end(): void;
}

/** Long names, PAX records and all of one entry's extensions together may take this many bytes. */
const MAX_EXTENSION_BYTES = 1024 * 1024;

/** Which typeflags announce an extension of the next header. */
const EXTENSIONS = "xgLK";

type State = "header" | "extension" | "content" | "padding" | "finished";

/**
 * Creates a reader of ustar, PAX, GNU and V7 archives. `subject` names the archive in errors.
 *
 * Its `write` throws ImageError TAR_INVALID, TAR_TRUNCATED or TAR_UNSUPPORTED (sparse files, vendor types).
 */
export function createTarReader(handler: TarHandler, subject: string): TarReader {
  let state: State = "header";
  let remaining = 0;
  let padding = 0;
  let sawZeroBlock = false;
  const held = Buffer.alloc(BLOCK);
  let heldBytes = 0;
  let extension: Buffer = held;
  let extensionFlag = "";
  let extensionBytes = 0;
  const globals: PaxRecords = new Map();
  let locals: PaxRecords = new Map();

  const startHeader = (raw: RawHeader | undefined): void => {
    if (raw === undefined) {
      state = sawZeroBlock ? "finished" : "header";
      sawZeroBlock = true;
      return;
    }
    if (sawZeroBlock) throw tarError("TAR_INVALID", subject, "a header after a zero block");
    if (EXTENSIONS.includes(raw.typeflag)) {
      extensionBytes += raw.size;
      if (raw.size < 0 || extensionBytes > MAX_EXTENSION_BYTES)
        throw tarError("TAR_INVALID", subject, `${extensionBytes} bytes of extensions`, `≤ ${MAX_EXTENSION_BYTES}`);
      extension = Buffer.alloc(raw.size);
      extensionFlag = raw.typeflag;
      startPayload("extension", raw.size);
      return;
    }
    const header = applyExtensions(raw, globals, locals, subject);
    locals = new Map();
    extensionBytes = 0;
    handler.entry(header);
    startPayload("content", header.size);
  };

  const startPayload = (next: "extension" | "content", size: number): void => {
    state = next;
    remaining = size;
    padding = (BLOCK - (size % BLOCK)) % BLOCK;
    if (remaining === 0) finishPayload();
  };

  const finishPayload = (): void => {
    if (state === "content") handler.end();
    else if (extensionFlag === "x") for (const [key, value] of parsePax(extension, subject)) locals.set(key, value);
    else if (extensionFlag === "g") for (const [key, value] of parsePax(extension, subject)) globals.set(key, value);
    else locals.set(extensionFlag === "L" ? "path" : "linkpath", untilNul(extension));
    state = padding === 0 ? "header" : "padding";
    remaining = padding;
  };

  return {
    write(chunk) {
      let at = 0;
      while (at < chunk.length && state !== "finished") {
        if (state === "header") {
          if (heldBytes === 0 && chunk.length - at >= BLOCK) {
            startHeader(readHeaderBlock(chunk, at, subject));
            at += BLOCK;
            continue;
          }
          const copied = chunk.copy(held, heldBytes, at, at + BLOCK - heldBytes);
          heldBytes += copied;
          at += copied;
          if (heldBytes < BLOCK) return;
          heldBytes = 0;
          startHeader(readHeaderBlock(held, 0, subject));
          continue;
        }
        const taken = Math.min(remaining, chunk.length - at);
        if (state === "content") handler.content(chunk.subarray(at, at + taken));
        else if (state === "extension") chunk.copy(extension, extension.length - remaining, at, at + taken);
        at += taken;
        remaining -= taken;
        if (remaining > 0) return;
        if (state === "padding") state = "header";
        else finishPayload();
      }
    },
    end() {
      if (state === "finished") return;
      if (state !== "header" || heldBytes > 0 || extensionBytes > 0)
        throw tarError(
          "TAR_TRUNCATED",
          subject,
          `an end inside ${state === "header" ? "a header" : `an entry's ${state}`}`,
        );
    },
  };
}

function untilNul(bytes: Buffer): string {
  const nul = bytes.indexOf(0);
  return bytes.toString("latin1", 0, nul === -1 ? bytes.length : nul);
}

/** Applies what the extensions say; local records go before global ones, an empty value withdraws. */
function applyExtensions(raw: RawHeader, globals: PaxRecords, locals: PaxRecords, subject: string): TarHeader {
  const records = globals.size === 0 ? locals : new Map([...globals, ...locals]);
  const has = records.size > 0;
  if (raw.typeflag === "S" || (has && [...records.keys()].some((keyword) => keyword.startsWith("GNU.sparse."))))
    throw tarError("TAR_UNSUPPORTED", subject, `a sparse file ${records.get("path") ?? raw.path}`, "no sparse files");
  const path = (has && records.get("path")) || raw.path;
  const type = typeOf(raw.typeflag, path);
  if (type === undefined)
    throw tarError("TAR_UNSUPPORTED", subject, `typeflag ${JSON.stringify(raw.typeflag)} of ${path}`);
  const integer = (keyword: string, fallback: number): number => {
    const value = has ? records.get(keyword) : undefined;
    return value ? paxInteger(keyword, value, subject) : fallback;
  };
  const size = integer("size", raw.size);
  const mtime = has ? records.get("mtime") : undefined;
  const time = mtime ? paxTime(mtime, subject) : { seconds: raw.mtime, nanos: 0 };
  const uid = integer("uid", raw.uid);
  const gid = integer("gid", raw.gid);
  if (size < 0 || uid < 0 || gid < 0 || raw.deviceMajor < 0 || raw.deviceMinor < 0)
    throw tarError("TAR_INVALID", subject, `a negative size, owner or device number of ${path}`);
  const xattrs = has ? xattrsOf(records) : undefined;
  return {
    path,
    type,
    mode: raw.mode,
    uid,
    gid,
    size: type === "file" ? size : 0,
    mtime: time.seconds,
    mtimeNanos: time.nanos,
    linkname: (has && records.get("linkpath")) || raw.linkname,
    deviceMajor: raw.deviceMajor,
    deviceMinor: raw.deviceMinor,
    ...(xattrs === undefined ? {} : { xattrs }),
  };
}
