// Unpacks a layer's blob while it streams: gzip, zstd or plain, with a cap on what may come out.
import { createGunzip, createZstdDecompress, type Gunzip, type ZstdDecompress } from "node:zlib";
import { ImageError } from "./image-error.ts";
import type { Compression } from "./media-types.ts";

/** Reads are gathered to this size, because each write costs a round trip through the thread pool. */
const WRITE_BYTES = 1024 * 1024;
/** Size of the pieces that come out. */
const CHUNK_BYTES = 1024 * 1024;

/** A layer that unpacks to more bytes than this is taken for a decompression bomb. */
const DEFAULT_MAX_LAYER_BYTES = 32 * 1024 ** 3;

/** What is unpacked, and how much may come out. */
export interface DecompressOptions {
  readonly compression: Compression;
  /** Names the layer in errors. */
  readonly subject: string;
  readonly maxBytes?: number;
  /**
   * Whether a chunk is done with when the next is asked for. Then its memory is given back at once, not at some garbage
   * collection, which keeps memory low and spares dozens of collections per layer.
   */
  readonly transient?: boolean;
}

/**
 * Yields the unpacked bytes of a blob. Errors of `blob` pass through unchanged.
 *
 * @throws ImageError LAYER_CORRUPT when the blob is damaged or cut off, LAYER_TOO_LARGE beyond `maxBytes`
 */
export async function* decompress(
  blob: AsyncIterable<Uint8Array>,
  { compression, subject, maxBytes = DEFAULT_MAX_LAYER_BYTES, transient = false }: DecompressOptions,
): AsyncGenerator<Buffer> {
  let total = 0;
  for await (const chunk of compression === "none" ? asBuffers(blob) : unpack(blob, compression, subject)) {
    total += chunk.length;
    if (total > maxBytes)
      throw new ImageError("LAYER_TOO_LARGE", {
        operation: "unpack layer",
        subject,
        got: "more",
        want: `at most ${maxBytes} bytes`,
      });
    yield chunk;
    if (transient && compression !== "none") giveBack(chunk);
  }
}

/** Frees the memory of an output buffer that the unpacker has filled to its end and will not use again. */
function giveBack(chunk: Buffer): void {
  const { buffer, byteOffset, byteLength } = chunk;
  if (buffer instanceof ArrayBuffer && buffer.byteLength === CHUNK_BYTES && byteOffset + byteLength === CHUNK_BYTES)
    buffer.transfer(0);
}

async function* asBuffers(blob: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  for await (const chunk of blob) yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
}

async function* unpack(
  blob: AsyncIterable<Uint8Array>,
  compression: "gzip" | "zstd",
  subject: string,
): AsyncGenerator<Buffer> {
  const pieces = gather(blob);
  const upcoming: Upcoming = [pieces.next()];
  try {
    for (;;) {
      const unpacker =
        compression === "gzip"
          ? createGunzip({ chunkSize: CHUNK_BYTES })
          : createZstdDecompress({ chunkSize: CHUNK_BYTES });
      const feeding = feed(unpacker, upcoming, pieces);
      try {
        for await (const chunk of unpacker) yield chunk as Buffer;
      } catch (cause) {
        unpacker.destroy();
        const { failure } = await feeding;
        throw failure === undefined ? corrupt(compression, subject, cause) : failure.error;
      } finally {
        unpacker.destroy();
      }
      const { hasMore } = await feeding;
      // What follows the last member of a gzip is padding; what follows a frame of zstd is the next frame, since a
      // decompressor stops after one (RFC 8878, 3.1: "frames … concatenated").
      if (!hasMore || compression === "gzip") return;
    }
  } finally {
    await pieces.return(undefined);
  }
}

function corrupt(compression: string, subject: string, cause: unknown): ImageError {
  const got = cause instanceof Error ? cause.message : String(cause);
  const want = `a complete ${compression} stream`;
  return new ImageError("LAYER_CORRUPT", { operation: "unpack layer", subject, got, want, cause });
}

/** Yields large pieces of the blob out of two buffers in turn: a piece is valid until the next but one is asked for. */
async function* gather(blob: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer, undefined> {
  const buffers = [Buffer.allocUnsafe(WRITE_BYTES), Buffer.allocUnsafe(WRITE_BYTES)] as const;
  let turn: 0 | 1 = 0;
  let filled = 0;
  for await (const chunk of blob) {
    for (let at = 0; at < chunk.length;) {
      const taken = Math.min(chunk.length - at, WRITE_BYTES - filled);
      buffers[turn].set(chunk.subarray(at, at + taken), filled);
      filled += taken;
      at += taken;
      if (filled < WRITE_BYTES) continue;
      yield buffers[turn];
      turn = turn === 0 ? 1 : 0;
      filled = 0;
    }
  }
  if (filled > 0) yield buffers[turn].subarray(0, filled);
  return undefined;
}

/** The piece that is to be written, and, while it is, the one after it. */
type Upcoming = Promise<IteratorResult<Buffer, undefined>>[];

/** How feeding ended: whether the unpacker left bytes, or with an error of the source. */
interface Fed {
  readonly hasMore: boolean;
  readonly failure?: { readonly error: unknown };
}

/** Writes pieces into the unpacker, gathering the next while one is unpacked; puts back what is left. Never rejects. */
async function feed(
  unpacker: Gunzip | ZstdDecompress,
  upcoming: Upcoming,
  pieces: AsyncGenerator<Buffer, undefined>,
): Promise<Fed> {
  let written = 0;
  try {
    for (;;) {
      const piece = await upcoming[0];
      if (piece === undefined || piece.done === true) break;
      if (upcoming.length === 1) {
        upcoming.push(pieces.next());
        upcoming[1]?.catch(() => undefined);
      }
      const isTaken = await write(unpacker, piece.value);
      written += piece.value.length;
      const ignored = written - unpacker.bytesWritten;
      if (ignored > 0) {
        upcoming[0] = Promise.resolve({ done: false, value: piece.value.subarray(piece.value.length - ignored) });
        return { hasMore: true };
      }
      if (!isTaken) return { hasMore: false };
      void upcoming.shift();
    }
    unpacker.end();
    return { hasMore: false };
  } catch (error) {
    unpacker.destroy(error as Error);
    return { hasMore: false, failure: { error } };
  }
}

/** Resolves once the unpacker has taken in what it wants of the piece, with false if it was destroyed instead. */
async function write(unpacker: Gunzip | ZstdDecompress, piece: Buffer): Promise<boolean> {
  if (unpacker.destroyed) return false;
  return await new Promise<boolean>((resolve) => {
    const stop = (): void => resolve(false);
    unpacker.once("close", stop);
    unpacker.write(piece, () => {
      unpacker.off("close", stop);
      resolve(true);
    });
  });
}
