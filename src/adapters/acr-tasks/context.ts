// Packs a build context: a few files as tar.gz.
import { gzipSync } from "node:zlib";
import { bytePath } from "../../core/image/entry-path.ts";
import { encodeTarHeader, TAR_END, tarPadding } from "../../core/image/tar/tar-writer.ts";

/** A file of a context; `path` is relative, with `/`. */
export interface ContextFile {
  readonly path: string;
  readonly content: Uint8Array;
}

/** Packs files; the same files give the same bytes. */
export function packContext(files: readonly ContextFile[]): Buffer {
  const parts = files.flatMap(({ path, content }) => [
    encodeTarHeader({
      path: bytePath(path),
      type: "file",
      mode: 0o644,
      uid: 0,
      gid: 0,
      size: content.length,
      mtime: 0,
      mtimeNanos: 0,
      linkname: "",
      deviceMajor: 0,
      deviceMinor: 0,
    }),
    content,
    tarPadding(content.length),
  ]);
  return gzipSync(Buffer.concat([...parts, TAR_END]));
}
