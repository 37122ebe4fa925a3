// Writes tar headers in ustar, with PAX records only for what ustar cannot hold; equal headers give equal bytes.
import { formatPax, formatPaxTime, xattrKeyword } from "./pax.ts";
import { BLOCK, typeflagOf, USTAR_LIMITS, writeHeaderBlock, type TarHeader } from "./tar-header.ts";

/** The two zero blocks that end an archive. */
export const TAR_END: Buffer = Buffer.alloc(2 * BLOCK);

const MAX_NAME = 100;
const NOT_PLAIN = /[^ -~]/;

/** The blocks that precede an entry's content: its header, and before it a PAX header if one is needed. */
export function encodeTarHeader(header: TarHeader): Buffer {
  const path = header.type === "directory" && !header.path.endsWith("/") ? `${header.path}/` : header.path;
  const records = paxRecordsOf(header, path);
  const block = writeHeaderBlock({ ...header, path, typeflag: typeflagOf(header.type) });
  if (records.size === 0) return block;
  const payload = formatPax(records);
  const announcement = writeHeaderBlock({
    path: "PaxHeaders/entry",
    typeflag: "x",
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: payload.length,
    mtime: 0,
    linkname: "",
    deviceMajor: 0,
    deviceMinor: 0,
  });
  return Buffer.concat([announcement, payload, tarPadding(payload.length), block]);
}

/** The zeros that fill the last block of `size` bytes of content. */
export function tarPadding(size: number): Buffer {
  return TAR_END.subarray(0, (BLOCK - (size % BLOCK)) % BLOCK);
}

function paxRecordsOf(header: TarHeader, path: string): Map<string, string> {
  const records = new Map<string, string>();
  if (path.length > MAX_NAME || NOT_PLAIN.test(path)) records.set("path", path);
  if (header.linkname.length > MAX_NAME || NOT_PLAIN.test(header.linkname)) records.set("linkpath", header.linkname);
  if (header.size > USTAR_LIMITS.size) records.set("size", String(header.size));
  if (header.uid > USTAR_LIMITS.id) records.set("uid", String(header.uid));
  if (header.gid > USTAR_LIMITS.id) records.set("gid", String(header.gid));
  if (header.mtimeNanos !== 0 || header.mtime < 0 || header.mtime > USTAR_LIMITS.size)
    records.set("mtime", formatPaxTime(header.mtime, header.mtimeNanos));
  for (const [name, value] of Object.entries(header.xattrs ?? {})) records.set(xattrKeyword(name), value);
  return records;
}
