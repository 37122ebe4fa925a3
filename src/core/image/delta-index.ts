// The index that a delta layer will have, told from its plan, without building it.
import type { DeltaEntries } from "./delta-entries.ts";
import type { FileEntry, LayerIndex } from "./layer-entry.ts";

/** Indexes a planned delta: what `indexTar` finds in the tar that `writeDeltaTar` writes. */
export function indexDelta({ directories, whiteouts, files, specials, links }: DeltaEntries): LayerIndex {
  const place = ({ path, entry }: { readonly path: string; readonly entry: FileEntry }): FileEntry => ({
    ...entry,
    path,
  });
  return {
    entries: [
      ...directories.map(place),
      ...whiteouts.map((path) => ({ kind: "whiteout", path }) as const),
      ...files.map(place),
      ...specials.map(place),
      ...links.map(({ path, target, entry }): FileEntry => {
        const { pyc: _pyc, packages: _packages, ...facts } = entry;
        return { ...facts, path, type: "link", size: 0, sha256: "", linkname: target, deviceMajor: 0, deviceMinor: 0 };
      }),
    ],
  };
}
