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
}

/**
 * Yields the unpacked bytes of a blob. Errors of `blob` pass through unchanged.
 *
 * @throws ImageError LAYER_CORRUPT when the blob is damaged or cut off, LAYER_TOO_LARGE beyond `maxBytes`
 */
export async function* decompress(
  blob: AsyncIterable<Uint8Array>,
  { compression, subject, maxBytes = DEFAULT_MAX_LAYER_BYTES }: DecompressOptions,
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
  }
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

/** Writes the blob into the unpacker in large pieces, waiting whenever it has enough; stops when it is destroyed. */
async function feed(blob: AsyncIterable<Uint8Array>, unpacker: Transform): Promise<void> {
  let pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of blob) {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes < WRITE_BYTES) continue;
    if (!(await write(unpacker, pieces, bytes))) return;
    pieces = [];
    bytes = 0;
  }
  if (await write(unpacker, pieces, bytes)) unpacker.end();
}

/** Resolves once the unpacker wants more, with false if it has been destroyed instead. */
async function write(unpacker: Transform, pieces: Uint8Array[], bytes: number): Promise<boolean> {
  if (unpacker.destroyed) return false;
  if (bytes > 0 && !unpacker.write(pieces.length === 1 ? pieces[0] : Buffer.concat(pieces, bytes)))
    await new Promise<void>((resolve) => {
      const settle = (): void => {
        unpacker.off("drain", settle);
        unpacker.off("close", settle);
        resolve();
      };
      unpacker.on("drain", settle);
      unpacker.on("close", settle);
    });
  return !unpacker.destroyed;
}
