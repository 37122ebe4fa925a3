// Unpacks a layer's blob while it streams: gzip, zstd or plain, with a cap on what may come out.
import { createGunzip, createZstdDecompress } from "node:zlib";
import type { Transform } from "node:stream";
import { ImageError } from "./image-error.ts";
import type { Compression } from "./media-types.ts";

/** Reads are gathered to this size, because each write costs a round trip through the thread pool. */
const WRITE_BYTES = 1024 * 1024;
/** Size of the pieces that come out. */
const CHUNK_BYTES = 256 * 1024;

/** A layer that unpacks to more bytes than this is taken for a decompression bomb. */
export const DEFAULT_MAX_LAYER_BYTES: number = 32 * 1024 ** 3;

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
  const unpacker =
    compression === "gzip"
      ? createGunzip({ chunkSize: CHUNK_BYTES })
      : createZstdDecompress({ chunkSize: CHUNK_BYTES });
  let sourceError: unknown;
  const feeding = feed(blob, unpacker).catch((error: unknown) => {
    sourceError = error;
    unpacker.destroy(error as Error);
  });
  try {
    for await (const chunk of unpacker) yield chunk as Buffer;
  } catch (cause) {
    if (sourceError !== undefined) throw sourceError;
    throw new ImageError("LAYER_CORRUPT", {
      operation: "unpack layer",
      subject,
      got: cause instanceof Error ? cause.message : String(cause),
      want: `a complete ${compression} stream`,
      cause,
    });
  } finally {
    unpacker.destroy();
    await feeding;
  }
}

/**
 * Writes the blob into the unpacker in large pieces, gathering one while the other is being unpacked; stops when the
 * unpacker is destroyed.
 */
async function feed(blob: AsyncIterable<Uint8Array>, unpacker: Transform): Promise<void> {
  let gathering = Buffer.allocUnsafe(WRITE_BYTES);
  let unpacking = Buffer.allocUnsafe(WRITE_BYTES);
  let filled = 0;
  let isUnpacked = Promise.resolve(true);
  const flush = async (): Promise<boolean> => {
    if (!(await isUnpacked)) return false;
    isUnpacked = write(unpacker, gathering.subarray(0, filled));
    [gathering, unpacking] = [unpacking, gathering];
    filled = 0;
    return true;
  };
  for await (const piece of blob) {
    for (let at = 0; at < piece.length;) {
      const taken = Math.min(piece.length - at, WRITE_BYTES - filled);
      gathering.set(piece.subarray(at, at + taken), filled);
      filled += taken;
      at += taken;
      if (filled === WRITE_BYTES && !(await flush())) return;
    }
  }
  if ((await flush()) && (await isUnpacked)) unpacker.end();
}

/** Resolves once the unpacker has taken in all of the piece, with false if it has been destroyed instead. */
async function write(unpacker: Transform, piece: Buffer): Promise<boolean> {
  if (unpacker.destroyed) return false;
  if (piece.length > 0)
    await new Promise<void>((resolve) => {
      unpacker.once("close", resolve);
      unpacker.write(piece, () => {
        unpacker.off("close", resolve);
        resolve();
      });
    });
  return !unpacker.destroyed;
}
