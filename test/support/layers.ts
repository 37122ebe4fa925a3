// Small layers for tests of images: described in a line per entry, written by the image core's own tar writer.
import { bytePath } from "../../src/core/image/entry-path.ts";
import { indexTar } from "../../src/core/image/layer-index.ts";
import type { LayerIndex } from "../../src/core/image/layer-entry.ts";
import type { TarHeader } from "../../src/core/image/tar/tar-header.ts";
import { encodeTarHeader, TAR_END, tarPadding } from "../../src/core/image/tar/tar-writer.ts";

/** An entry: a path ending in `/` is a directory, `link` a hard link, `symlink` a symlink, else a file. */
interface EntryFacts extends Partial<Omit<TarHeader, "path" | "type" | "size" | "linkname">> {
  readonly content?: string | Buffer;
  readonly link?: string;
  readonly symlink?: string;
}

/** Entries by path (UTF-8), in order. A string or buffer stands for a file's content. */
export type LayerFacts = Readonly<Record<string, EntryFacts | string | Buffer>>;

/** Writes a layer's tar. */
export function writeLayerTar(entries: LayerFacts): Buffer {
  const parts: Buffer[] = [];
  for (const [path, given] of Object.entries(entries)) {
    const isContent = typeof given === "string" || Buffer.isBuffer(given);
    const { content = "", link, symlink, ...facts }: EntryFacts = isContent ? { content: given } : given;
    const isDirectory = path.endsWith("/");
    const bytes = Buffer.from(content);
    const type = isDirectory ? "directory" : link !== undefined ? "link" : symlink === undefined ? "file" : "symlink";
    const header: TarHeader = {
      mode: isDirectory ? 0o755 : 0o644,
      uid: 0,
      gid: 0,
      mtime: 1_700_000_000,
      mtimeNanos: 0,
      deviceMajor: 0,
      deviceMinor: 0,
      ...facts,
      path: bytePath(path),
      type,
      size: type === "file" ? bytes.length : 0,
      linkname: bytePath(link ?? symlink ?? ""),
    };
    parts.push(encodeTarHeader(header), bytes, tarPadding(bytes.length));
  }
  return Buffer.concat([...parts, TAR_END]);
}

/** Indexes a layer. */
export async function indexLayer(entries: LayerFacts): Promise<LayerIndex> {
  const tar = writeLayerTar(entries);
  return await indexTar(
    (async function* () {
      yield tar;
    })(),
    { subject: "a layer" },
  );
}

/** A compiled Python file as CPython writes it (PEP 552): validated by its source's time, or with `flags` 1 by its hash. */
export function writePyc(sourceMtime: number, code: string, flags = 0): Buffer {
  const head = Buffer.alloc(16);
  head.write("\xcb\r\r\n", 0, "latin1");
  head.writeUInt32LE(flags, 4);
  head.writeUInt32LE(sourceMtime, 8);
  head.writeUInt32LE(code.length, 12);
  return Buffer.concat([head, Buffer.from(code)]);
}
