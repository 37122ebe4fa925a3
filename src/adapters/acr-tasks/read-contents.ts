// Reads the contents that a build has copied out of its image, each checked against what the plan knows of it.
import { hash } from "node:crypto";
import { cleanPath, displayPath } from "../../core/image/entry-path.ts";
import type { DeltaFile } from "../../core/image/delta-entries.ts";
import type { FileEntry } from "../../core/image/layer-entry.ts";
import { createTarReader, type TarReader } from "../../core/image/tar/tar-reader.ts";
import type { LayerReader } from "../direct-engine/layer-reader.ts";
import type { LoadedImage } from "../direct-engine/load-image.ts";
import { AcrTasksError } from "./acr-tasks-error.ts";

/**
 * Reads the contents of `files` from a built image's layers, the upper winning.
 * @throws AcrTasksError OUTPUT_INVALID when one is missing or is not the candidate's
 */
export async function readContents(
  image: LoadedImage,
  files: readonly DeltaFile[],
  reader: LayerReader,
): Promise<ReadonlyMap<FileEntry, Buffer>> {
  const wanted = new Map(files.filter(({ entry }) => entry.size > 0).map(({ path, entry }) => [path, entry]));
  const contents = new Map<FileEntry, Buffer>();
  for (const layer of image.manifest.layers) {
    const collector = createCollector(wanted, contents, layer.digest);
    for await (const chunk of reader.readTar(image.repository, layer)) collector.write(chunk);
    collector.end();
  }
  for (const [path, entry] of wanted) {
    const content = contents.get(entry);
    if (content !== undefined && hash("sha256", content, "hex") === entry.sha256) continue;
    throw new AcrTasksError("OUTPUT_INVALID", {
      operation: "seal build",
      subject: image.digest,
      got: content === undefined ? `no /${displayPath(path)}` : `another /${displayPath(path)}`,
      want: `${entry.size} bytes with sha256 ${entry.sha256}`,
    });
  }
  return contents;
}

/** A tar reader that gathers the wanted files; one of another size is none of them. */
function createCollector(
  wanted: ReadonlyMap<string, FileEntry>,
  contents: Map<FileEntry, Buffer>,
  subject: string,
): TarReader {
  let entry: FileEntry | undefined;
  let pieces: Buffer[] = [];
  return createTarReader(
    {
      entry({ type, path, size }) {
        const found = type === "file" ? wanted.get(cleanPath(path, subject)) : undefined;
        entry = found?.size === size ? found : undefined;
        pieces = [];
      },
      content: (piece) => void (entry !== undefined && pieces.push(Buffer.from(piece))),
      end: () => void (entry !== undefined && contents.set(entry, Buffer.concat(pieces))),
    },
    subject,
  );
}
