// PAX extended headers: the records behind typeflags x and g (POSIX.1-2001, pax interchange format).
import { tarError } from "./tar-header.ts";

/** Records by keyword; keywords and values are byte strings. An empty value withdraws a global record. */
export type PaxRecords = Map<string, string>;

const XATTR_PREFIX = "SCHILY.xattr.";

/**
 * Reads records of the form `<length> <keyword>=<value>\n`.
 * @throws ImageError TAR_INVALID
 */
export function parsePax(bytes: Buffer, subject: string): PaxRecords {
  const records: PaxRecords = new Map();
  let at = 0;
  while (at < bytes.length && bytes[at] !== 0) {
    const space = bytes.indexOf(0x20, at);
    const digits = bytes.toString("latin1", at, space);
    const end = at + Number(digits);
    const equals = bytes.indexOf(0x3d, space);
    if (space === -1 || !/^\d{1,10}$/.test(digits) || end > bytes.length || equals === -1 || equals >= end - 1)
      throw tarError("TAR_INVALID", subject, "a malformed PAX record");
    if (bytes[end - 1] !== 0x0a) throw tarError("TAR_INVALID", subject, "a PAX record without its newline");
    records.set(bytes.toString("latin1", space + 1, equals), bytes.toString("latin1", equals + 1, end - 1));
    at = end;
  }
  return records;
}

/** Writes records in the order given. */
export function formatPax(records: ReadonlyMap<string, string>): Buffer {
  const lines = [...records].map(([keyword, value]) => {
    const rest = keyword.length + value.length + 3;
    let length = rest + String(rest).length;
    if (rest + String(length).length > length) length = rest + String(length).length;
    return `${length} ${keyword}=${value}\n`;
  });
  return Buffer.from(lines.join(""), "latin1");
}

/** The extended attributes among the records, or undefined if there are none. */
export function xattrsOf(records: PaxRecords): Readonly<Record<string, string>> | undefined {
  const found = [...records].filter(([keyword, value]) => keyword.startsWith(XATTR_PREFIX) && value !== "");
  if (found.length === 0) return undefined;
  return Object.fromEntries(
    found.map(([keyword, value]): [string, string] => [keyword.slice(XATTR_PREFIX.length), value]).sort(byName),
  );
}

/** The keyword under which an extended attribute is recorded. */
export function xattrKeyword(name: string): string {
  return XATTR_PREFIX + name;
}

function byName([left]: [string, string], [right]: [string, string]): number {
  return left < right ? -1 : 1;
}

/**
 * Reads a record that is a whole number, e.g. `size`.
 * @throws ImageError TAR_INVALID
 */
export function paxInteger(keyword: string, value: string, subject: string): number {
  const number = Number(value);
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(number))
    throw tarError("TAR_INVALID", subject, `PAX ${keyword}=${value}`, "a whole number");
  return number;
}

/**
 * Reads a time in seconds with an optional fraction, e.g. `-1.25`.
 * @throws ImageError TAR_INVALID
 */
export function paxTime(value: string, subject: string): { readonly seconds: number; readonly nanos: number } {
  const match = /^(-?)(\d+)(?:\.(\d*))?$/.exec(value);
  if (match === null) throw tarError("TAR_INVALID", subject, `PAX mtime=${value}`, "seconds");
  const whole = Number(match[2]);
  const nanos = Number((match[3] ?? "").slice(0, 9).padEnd(9, "0"));
  if (match[1] !== "-") return { seconds: whole, nanos };
  return nanos === 0 ? { seconds: -whole, nanos: 0 } : { seconds: -whole - 1, nanos: 1e9 - nanos };
}

/** Writes a time for `paxTime`. */
export function formatPaxTime(seconds: number, nanos: number): string {
  if (nanos === 0) return String(seconds);
  const fraction = (value: number): string => String(value).padStart(9, "0").replace(/0+$/, "");
  if (seconds >= 0) return `${seconds}.${fraction(nanos)}`;
  return `-${-seconds - 1}.${fraction(1e9 - nanos)}`;
}
