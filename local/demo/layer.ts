// Writes one image layer: entries to tar, tar to gzip, gzip to a file, with both digests taken on the way.
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, readFileSync } from "node:fs";
import { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { pack as createPack, type Pack } from "tar-stream";

/** One entry of a layer; `path` is relative to the root and has no trailing slash, `mtime` is in whole seconds. */
export type LayerEntry = {
  readonly path: string;
  readonly mode: number;
  readonly mtime: number;
} & (
  | { readonly type: "directory" }
  | { readonly type: "symlink"; readonly target: string }
  | { readonly type: "file"; readonly content: Uint8Array }
  | { readonly type: "file"; readonly source: string; readonly size: number }
);

/** A gzip layer on disk: `digest` and `size` are those of the file, `diffId` and `tarSize` those of the tar within. */
export interface BuiltLayer {
  readonly file: string;
  readonly digest: `sha256:${string}`;
  readonly size: number;
  readonly diffId: `sha256:${string}`;
  readonly tarSize: number;
  readonly entries: number;
}

/** How a layer is compressed and who hears of the work: `onBytes` is called with the tar bytes done so far. */
export interface LayerOptions {
  readonly level: number;
  readonly onBytes?: (tarBytes: number) => void;
}

/** Large enough that the stream machinery costs little beside the compression. */
const CHUNK_BYTES = 1 << 20;

/** Writes `entries` in their order as a tar.gz file; same entries and level, same digests. */
export async function writeLayer(
  file: string,
  entries: Iterable<LayerEntry>,
  options: LayerOptions,
): Promise<BuiltLayer> {
  return await compress(file, createWriteStream(file), entries, options);
}

/** The size in bytes that `entries` would have as a layer at this compression level. */
export async function measureLayer(entries: Iterable<LayerEntry>, options: LayerOptions): Promise<number> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  return (await compress("", nowhere, entries, options)).size;
}

async function compress(
  file: string,
  output: Writable,
  entries: Iterable<LayerEntry>,
  { level, onBytes }: LayerOptions,
): Promise<BuiltLayer> {
  const pack = createPack();
  const tar = createTap((bytes) => onBytes?.(bytes));
  const blob = createTap();
  const gzip = createGzip({ level, chunkSize: CHUNK_BYTES });
  const [count] = await Promise.all([
    fill(pack, entries),
    pipeline(
      Readable.from(gather(pack as AsyncIterable<unknown> as AsyncIterable<Uint8Array>)),
      tar.pass,
      gzip,
      blob.pass,
      output,
    ),
  ]);
  return { file, digest: blob.digest(), size: blob.size(), diffId: tar.digest(), tarSize: tar.size(), entries: count };
}

async function fill(pack: Pack, entries: Iterable<LayerEntry>): Promise<number> {
  let count = 0;
  try {
    for (const entry of entries) {
      await addEntry(pack, entry);
      count += 1;
    }
    pack.finalize();
  } catch (cause) {
    pack.destroy(cause as Error);
    throw cause;
  }
  return count;
}

async function addEntry(pack: Pack, entry: LayerEntry): Promise<void> {
  const header = { name: entry.path, mode: entry.mode, mtime: new Date(entry.mtime * 1000), uid: 0, gid: 0 };
  if (entry.type === "file" && "source" in entry && entry.size > CHUNK_BYTES) {
    const sink = pack.entry({ ...header, type: "file", size: entry.size });
    await pipeline(createReadStream(entry.source, { highWaterMark: CHUNK_BYTES }), sink);
    return;
  }
  await new Promise<void>((resolve, reject) => {
    const done = (error?: Error | null): void => (error ? reject(error) : resolve());
    if (entry.type === "file") {
      const content = "source" in entry ? readFileSync(entry.source) : Buffer.from(entry.content);
      pack.entry({ ...header, type: "file" }, content, done);
    } else if (entry.type === "symlink") pack.entry({ ...header, type: "symlink", linkname: entry.target }, done);
    else pack.entry({ ...header, name: `${entry.path}/`, type: "directory" }, done);
  });
}

/** Joins the many small pieces that a tar consists of, each of which would cost a round trip through the thread pool. */
async function* gather(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of source) {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes < CHUNK_BYTES) continue;
    yield Buffer.concat(pieces, bytes);
    pieces = [];
    bytes = 0;
  }
  yield Buffer.concat(pieces, bytes);
}

/** A stage of a pipeline that hashes and counts what passes through it. */
interface Tap {
  readonly pass: (source: AsyncIterable<Uint8Array>) => AsyncGenerator<Uint8Array>;
  readonly digest: () => `sha256:${string}`;
  readonly size: () => number;
}

function createTap(onBytes?: (bytes: number) => void): Tap {
  const hash = createHash("sha256");
  let bytes = 0;
  return {
    async *pass(source) {
      for await (const chunk of source) {
        hash.update(chunk);
        bytes += chunk.length;
        onBytes?.(bytes);
        yield chunk;
      }
    },
    digest: () => `sha256:${hash.digest("hex")}`,
    size: () => bytes,
  };
}
