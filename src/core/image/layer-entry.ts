// What an index remembers of each entry of a layer.
import type { InstalledPackage } from "./packages/installed-package.ts";
import type { TarHeader } from "./tar/tar-header.ts";

/** What the `.pyc` rule needs of a compiled Python file (PEP 552, timestamp-based). */
export interface PycFacts {
  /** The recorded modification time of the source, bytes 8–12: seconds modulo 2³². */
  readonly sourceMtime: number;
  /** sha256 (hex) of the content with bytes 8–12 zeroed. */
  readonly sha256: string;
}

/** A file system entry of a layer. `path` is clean (see entry-path.ts); `linkname` of a hard link is clean as well. */
export interface FileEntry extends TarHeader {
  readonly kind: "entry";
  /** sha256 (hex) of a file's content; of other types the empty string. */
  readonly sha256: string;
  readonly pyc?: PycFacts;
  /** What the file records as installed, if it is the record of a package manager. */
  readonly packages?: readonly InstalledPackage[];
}

/** A marker: `whiteout` removes `path` from the layers below, `opaque` removes what they have beneath `path`. */
export interface MarkerEntry {
  readonly kind: "whiteout" | "opaque" | "bookkeeping";
  readonly path: string;
}

/** Any header of a layer's tar. */
export type LayerEntry = FileEntry | MarkerEntry;

/** All entries of one layer in the order of its tar: position in `entries` = ordinal of the tar header. */
export interface LayerIndex {
  readonly entries: readonly LayerEntry[];
}
