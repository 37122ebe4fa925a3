// The compact, versioned byte form of a layer index, for caches; a damaged or foreign one is refused.
import { hash } from "node:crypto";
import { ImageError } from "./image-error.ts";
import type { FileEntry, LayerEntry, LayerIndex, MarkerEntry } from "./layer-entry.ts";
import { ECOSYSTEMS, type InstalledPackage } from "./packages/installed-package.ts";
import { typeflagOf, typeOf } from "./tar/tar-header.ts";

/** Raised whenever the form or the meaning of an index changes; caches put it into their names. */
export const INDEX_VERSION = 2;

const MAGIC = Buffer.from([0x4c, 0x4c, 0x49, INDEX_VERSION]);
const CHECKSUM_BYTES = 16;
const MARKERS: readonly MarkerEntry["kind"][] = ["whiteout", "opaque", "bookkeeping"];
const HAS_XATTRS = 1;
const HAS_PYC = 2;
const HAS_NANOS = 4;
const HAS_PACKAGES = 8;

/**
 * Writes an index: magic and version, the number of entries, then per entry a kind byte (a marker's number or a tar
 * typeflag), the path as shared prefix length + rest, and the fields that its type has; a truncated sha256 ends it.
 */
export function encodeLayerIndex({ entries }: LayerIndex): Uint8Array {
  const writer = createWriter();
  writer.bytes(MAGIC);
  writer.varint(entries.length);
  let previous = "";
  for (const entry of entries) {
    writer.byte(entry.kind === "entry" ? typeflagOf(entry.type).charCodeAt(0) : MARKERS.indexOf(entry.kind));
    const shared = sharedPrefixLength(previous, entry.path);
    writer.varint(shared);
    writer.text(entry.path.slice(shared));
    previous = entry.path;
    if (entry.kind === "entry") encodeFacts(writer, entry);
  }
  const content = writer.finish();
  return Buffer.concat([content, checksum(content)]);
}

function encodeFacts(writer: Writer, entry: FileEntry): void {
  const { xattrs, pyc, packages } = entry;
  const nanos = entry.mtimeNanos;
  writer.byte(
    (xattrs ? HAS_XATTRS : 0) | (pyc ? HAS_PYC : 0) | (nanos ? HAS_NANOS : 0) | (packages ? HAS_PACKAGES : 0),
  );
  writer.varint(entry.mode);
  writer.varint(entry.uid);
  writer.varint(entry.gid);
  writer.varint(entry.mtime < 0 ? -entry.mtime * 2 - 1 : entry.mtime * 2);
  if (nanos) writer.varint(nanos);
  if (entry.type === "file") {
    writer.varint(entry.size);
    writer.hex(entry.sha256);
  } else if (entry.type === "link" || entry.type === "symlink") writer.text(entry.linkname);
  else if (entry.type === "character-device" || entry.type === "block-device") {
    writer.varint(entry.deviceMajor);
    writer.varint(entry.deviceMinor);
  }
  if (xattrs) {
    const pairs = Object.entries(xattrs);
    writer.varint(pairs.length);
    for (const [name, value] of pairs) {
      writer.text(name);
      writer.text(value);
    }
  }
  if (pyc) {
    writer.varint(pyc.sourceMtime);
    writer.hex(pyc.sha256);
  }
  if (packages) {
    writer.varint(packages.length);
    for (const { ecosystem, name, version, build } of packages) {
      writer.byte(ECOSYSTEMS.indexOf(ecosystem));
      for (const text of [name, version, build]) writer.text(text);
    }
  }
}

/**
 * Reads what `encodeLayerIndex` wrote.
 * @throws ImageError INDEX_UNREADABLE for another version, damage, or anything else; then index the layer anew
 */
export function decodeLayerIndex(bytes: Uint8Array): LayerIndex {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = buffer.length - CHECKSUM_BYTES;
  if (end < MAGIC.length || !buffer.subarray(0, MAGIC.length).equals(MAGIC))
    throw unreadable(`${buffer.length} bytes that do not start as version ${INDEX_VERSION} does`);
  const content = buffer.subarray(0, end);
  if (!checksum(content).equals(buffer.subarray(end))) throw unreadable("a wrong checksum");

  const reader = createReader(content, MAGIC.length);
  const count = reader.varint();
  const entries: LayerEntry[] = [];
  let previous = "";
  for (let i = 0; i < count; i++) {
    const kind = reader.byte();
    const path = previous.slice(0, reader.varint()) + reader.text();
    previous = path;
    const marker = MARKERS[kind];
    entries.push(marker === undefined ? decodeFacts(reader, path, kind) : { kind: marker, path });
  }
  return { entries };
}

function decodeFacts(reader: Reader, path: string, kind: number): FileEntry {
  const type = typeOf(String.fromCharCode(kind), path);
  if (type === undefined) throw unreadable(`entry kind ${kind}`);
  const flags = reader.byte();
  const mode = reader.varint();
  const uid = reader.varint();
  const gid = reader.varint();
  const time = reader.varint();
  const mtime = time % 2 === 0 ? time / 2 : -(time + 1) / 2;
  const mtimeNanos = flags & HAS_NANOS ? reader.varint() : 0;
  const size = type === "file" ? reader.varint() : 0;
  const sha256 = type === "file" ? reader.hex() : "";
  const linkname = type === "link" || type === "symlink" ? reader.text() : "";
  const isDevice = type === "character-device" || type === "block-device";
  const deviceMajor = isDevice ? reader.varint() : 0;
  const deviceMinor = isDevice ? reader.varint() : 0;
  const xattrs = flags & HAS_XATTRS ? decodeXattrs(reader) : undefined;
  const pyc = flags & HAS_PYC ? { sourceMtime: reader.varint(), sha256: reader.hex() } : undefined;
  const packages = flags & HAS_PACKAGES ? decodePackages(reader) : undefined;
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
    ...(pyc === undefined ? {} : { pyc }),
    ...(packages === undefined ? {} : { packages }),
  };
}

function decodeXattrs(reader: Reader): Record<string, string> {
  const pairs: [string, string][] = [];
  for (let left = reader.varint(); left > 0; left--) pairs.push([reader.text(), reader.text()]);
  return Object.fromEntries(pairs);
}

function decodePackages(reader: Reader): InstalledPackage[] {
  const packages: InstalledPackage[] = [];
  for (let left = reader.varint(); left > 0; left--) {
    const ecosystem = ECOSYSTEMS[reader.byte()];
    if (ecosystem === undefined) throw unreadable("an unknown ecosystem");
    packages.push({ ecosystem, name: reader.text(), version: reader.text(), build: reader.text() });
  }
  return packages;
}

function sharedPrefixLength(left: string, right: string): number {
  const limit = Math.min(left.length, right.length);
  let at = 0;
  while (at < limit && left.charCodeAt(at) === right.charCodeAt(at)) at++;
  return at;
}

function checksum(content: Uint8Array): Buffer {
  return hash("sha256", content, "buffer").subarray(0, CHECKSUM_BYTES);
}

function unreadable(got: string): ImageError {
  return new ImageError("INDEX_UNREADABLE", { operation: "read layer index", subject: "from cache", got });
}

interface Writer {
  byte(value: number): void;
  /** A whole number ≥ 0, seven bits per byte, low bits first. */
  varint(value: number): void;
  /** A byte string with its length. */
  text(value: string): void;
  hex(value: string): void;
  bytes(value: Uint8Array): void;
  finish(): Buffer;
}

function createWriter(): Writer {
  let buffer = Buffer.allocUnsafe(64 * 1024);
  let length = 0;
  const reserve = (bytes: number): void => {
    if (length + bytes <= buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(buffer.length * 2, length + bytes));
    buffer.copy(larger, 0, 0, length);
    buffer = larger;
  };
  const varint = (value: number): void => {
    reserve(8);
    let rest = value;
    while (rest >= 0x80) {
      buffer[length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    buffer[length++] = rest;
  };
  return {
    byte(value) {
      reserve(1);
      buffer[length++] = value;
    },
    varint,
    text(value) {
      varint(value.length);
      reserve(value.length);
      length += buffer.write(value, length, "latin1");
    },
    hex(value) {
      reserve(32);
      length += buffer.write(value, length, 32, "hex");
    },
    bytes(value) {
      reserve(value.length);
      buffer.set(value, length);
      length += value.length;
    },
    finish: () => buffer.subarray(0, length),
  };
}

interface Reader {
  byte(): number;
  varint(): number;
  text(): string;
  hex(): string;
}

/** Reads from checksummed bytes: running over the end can only come from a foreign writer, and still throws. */
function createReader(buffer: Buffer, start: number): Reader {
  let at = start;
  const advance = (bytes: number): number => {
    const from = at;
    at += bytes;
    if (at > buffer.length) throw unreadable("an early end");
    return from;
  };
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = buffer[advance(1)] as number;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  return {
    byte: () => buffer[advance(1)] as number,
    varint,
    text() {
      const length = varint();
      const from = advance(length);
      return buffer.toString("latin1", from, from + length);
    },
    hex() {
      const from = advance(32);
      return buffer.toString("hex", from, from + 32);
    },
  };
}
