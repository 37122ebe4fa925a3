// Tar headers: what an entry says of itself, and the 512-byte block it says it in (POSIX ustar, GNU, old V7).
import { ImageError, type ImageErrorCode } from "../image-error.ts";

/** Size of a tar block in bytes. */
export const BLOCK = 512;

/**
 * An entry's header. `path`, `linkname` and the values of `xattrs` are *byte strings*: one character per byte, so that
 * names in any encoding survive; `mtime` is in whole seconds since the epoch, `mtimeNanos` what is left of a second.
 */
export interface TarHeader {
  readonly path: string;
  readonly type: TarType;
  /** Permission bits with setuid, setgid and sticky: 0 to 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Content length in bytes; 0 for everything but files. */
  readonly size: number;
  readonly mtime: number;
  readonly mtimeNanos: number;
  readonly linkname: string;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  readonly xattrs?: Readonly<Record<string, string>>;
}

/** What an entry is. */
export type TarType = "file" | "link" | "symlink" | "character-device" | "block-device" | "directory" | "fifo";

/** A header block as it stands, before extensions are applied. */
export interface RawHeader extends Omit<TarHeader, "type" | "xattrs"> {
  readonly typeflag: string;
}

const TYPES: ReadonlyMap<string, TarType> = new Map([
  ["0", "file"],
  ["\0", "file"],
  ["7", "file"],
  ["1", "link"],
  ["2", "symlink"],
  ["3", "character-device"],
  ["4", "block-device"],
  ["5", "directory"],
  ["6", "fifo"],
]);

/** The type of a typeflag, or undefined if it is not that of a file system entry; V7 marks directories by a slash. */
export function typeOf(typeflag: string, path: string): TarType | undefined {
  return typeflag === "\0" && path.endsWith("/") ? "directory" : TYPES.get(typeflag);
}

/** The typeflag of a type. */
export function typeflagOf(type: TarType): string {
  return {
    file: "0",
    link: "1",
    symlink: "2",
    "character-device": "3",
    "block-device": "4",
    directory: "5",
    fifo: "6",
  }[type];
}

/** An error about a tar; `subject` names the layer, `got` says what is wrong where. */
export function tarError(code: ImageErrorCode, subject: string, got: string, want?: string): ImageError {
  return new ImageError(code, { operation: "read tar of", subject, got, ...(want === undefined ? {} : { want }) });
}

/**
 * Reads the header block at `offset`, or undefined when it is all zeros.
 * @throws ImageError TAR_INVALID on a wrong checksum or a field that is no number
 */
export function readHeaderBlock(block: Buffer, offset: number, subject: string): RawHeader | undefined {
  let sum = 0;
  for (let at = offset; at < offset + BLOCK; at++) sum += block[at] as number;
  if (sum === 0) return undefined;
  for (let at = offset + 148; at < offset + 156; at++) sum += 32 - (block[at] as number);

  const number = (at: number, length: number, field: string): number => {
    const value = readNumber(block, offset + at, length);
    if (value === undefined) throw tarError("TAR_INVALID", subject, `a header whose ${field} is no number`);
    return value;
  };
  const stated = number(148, 8, "checksum");
  if (stated !== sum) throw tarError("TAR_INVALID", subject, `header checksum ${stated}`, String(sum));

  const name = readText(block, offset, 100);
  const isUstar = block.toString("latin1", offset + 257, offset + 263) === "ustar\0";
  const prefix = isUstar ? readText(block, offset + 345, 155) : "";
  const typeflag = String.fromCharCode(block[offset + 156] as number);
  const isDevice = typeflag === "3" || typeflag === "4";
  return {
    path: prefix === "" ? name : `${prefix}/${name}`,
    typeflag,
    mode: number(100, 8, "mode") & 0o7777,
    uid: number(108, 8, "uid"),
    gid: number(116, 8, "gid"),
    size: number(124, 12, "size"),
    mtime: number(136, 12, "mtime"),
    mtimeNanos: 0,
    linkname: block[offset + 157] === 0 ? "" : readText(block, offset + 157, 100),
    deviceMajor: isDevice ? number(329, 8, "device major number") : 0,
    deviceMinor: isDevice ? number(337, 8, "device minor number") : 0,
  };
}

function readText(block: Buffer, start: number, length: number): string {
  const nul = block.indexOf(0, start);
  return block.toString("latin1", start, nul === -1 || nul > start + length ? start + length : nul);
}

/** An octal number, or a big-endian two's complement one if the first bit is set (GNU's base-256). */
function readNumber(block: Buffer, start: number, length: number): number | undefined {
  const first = block[start] as number;
  if (first & 0x80) return readBase256(block, start, length);
  let at = start;
  const end = start + length;
  while (at < end && block[at] === 0x20) at++;
  let value = 0;
  for (; at < end; at++) {
    const digit = (block[at] as number) - 0x30;
    if (digit === -0x30 || digit === -0x10) break;
    if (digit < 0 || digit > 7) return undefined;
    value = value * 8 + digit;
  }
  return value;
}

function readBase256(block: Buffer, start: number, length: number): number | undefined {
  const negative = ((block[start] as number) & 0x40) !== 0;
  let value = BigInt((block[start] as number) & 0x3f) - (negative ? 0x40n : 0n);
  for (let at = start + 1; at < start + length; at++) value = value * 256n + BigInt(block[at] as number);
  const result = Number(value);
  return Number.isSafeInteger(result) ? result : undefined;
}

/** The largest numbers that the octal fields of a ustar header hold. */
export const USTAR_LIMITS: { readonly id: number; readonly size: number; readonly device: number } = {
  id: 0o7777777,
  size: 0o77777777777,
  device: 0o7777777,
};

/**
 * Writes a ustar header block. Whatever does not fit (see USTAR_LIMITS, names beyond 100 bytes) must already have been
 * moved to a PAX header; it is cut off or written as zero here.
 */
export function writeHeaderBlock(header: Omit<RawHeader, "mtimeNanos">): Buffer {
  const block = Buffer.alloc(BLOCK);
  const write = (text: string, at: number, length: number): number => block.write(text, at, length, "latin1");
  const octal = (value: number, at: number, length: number, limit: number): void => {
    const fitting = value >= 0 && value <= limit ? value : 0;
    write(fitting.toString(8).padStart(length - 1, "0"), at, length - 1);
  };
  write(header.path, 0, 100);
  octal(header.mode, 100, 8, USTAR_LIMITS.id);
  octal(header.uid, 108, 8, USTAR_LIMITS.id);
  octal(header.gid, 116, 8, USTAR_LIMITS.id);
  octal(header.size, 124, 12, USTAR_LIMITS.size);
  octal(header.mtime, 136, 12, USTAR_LIMITS.size);
  write(header.typeflag, 156, 1);
  write(header.linkname, 157, 100);
  write("ustar\x0000", 257, 8);
  octal(header.deviceMajor, 329, 8, USTAR_LIMITS.device);
  octal(header.deviceMinor, 337, 8, USTAR_LIMITS.device);
  let sum = 8 * 32;
  for (const byte of block) sum += byte;
  write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, 8);
  return block;
}
