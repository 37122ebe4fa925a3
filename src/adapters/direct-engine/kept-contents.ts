// Keeps the contents of files that will probably be shipped while their layer streams by, within a budget.
import type { FileEntry } from "../../core/image/layer-entry.ts";
import type { KeepFile } from "../../core/image/layer-index.ts";

/** Files beyond this size are read again if they have to be shipped. */
const MAX_FILE_BYTES = 1024 * 1024;
/** All kept contents together. */
const BUDGET_BYTES = 16 * 1024 * 1024;

/** What is kept of one comparison. */
export interface KeptContents {
  /** Hears of the anchor's entries, whose equals need not be kept. */
  readonly anchor: KeepFile;
  /** Hears of the candidate's entries and keeps contents. */
  readonly candidate: KeepFile;
  /** The content of a candidate's entry, if it was kept. */
  get(entry: FileEntry): Buffer | undefined;
}

/**
 * Creates an empty store.
 *
 * Both images' layers stream at the same time, twins nearly in step, so what the anchor has at the same path is often
 * known already; when the budget is used up, whatever has found its equal since is dropped, and then, if that is not
 * enough, everything.
 */
export function createKeptContents(): KeptContents {
  const anchorHashes = new Map<string, string>();
  const kept = new Map<FileEntry, Buffer>();
  let bytes = 0;

  const hasEqual = ({ path, sha256 }: FileEntry): boolean => anchorHashes.get(path) === sha256;
  const drop = (entry: FileEntry): void => {
    bytes -= kept.get(entry)?.length ?? 0;
    kept.delete(entry);
  };
  const makeRoom = (): void => {
    for (const entry of kept.keys()) if (hasEqual(entry)) drop(entry);
    if (bytes > BUDGET_BYTES / 2) for (const entry of kept.keys()) drop(entry);
  };

  return {
    anchor: {
      maxBytes: 0,
      offer: (entry) => void anchorHashes.set(entry.path, entry.sha256),
    },
    candidate: {
      maxBytes: MAX_FILE_BYTES,
      offer(entry, content) {
        if (content === undefined || hasEqual(entry)) return;
        kept.set(entry, Buffer.from(content));
        bytes += content.length;
        if (bytes > BUDGET_BYTES) makeRoom();
      },
    },
    get: (entry) => kept.get(entry),
  };
}
