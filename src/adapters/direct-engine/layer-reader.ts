// Reads layers from a repository: unpacked, counted, and turned into indexes that are kept by digest.
import { createHash, type Hash } from "node:crypto";
import type { Descriptor, Digest } from "../../core/image/descriptor.ts";
import { decompress } from "../../core/image/decompress.ts";
import { ImageError } from "../../core/image/image-error.ts";
import type { LayerIndex } from "../../core/image/layer-entry.ts";
import { decodeLayerIndex, encodeLayerIndex, INDEX_VERSION } from "../../core/image/layer-index-codec.ts";
import { indexTar, type KeepFile } from "../../core/image/layer-index.ts";
import { compressionOf } from "../../core/image/media-types.ts";
import type { ByteCache } from "../../ports/byte-cache.ts";
import type { RepositoryReader } from "../../ports/registry.ts";
import type { Pace } from "./paces.ts";

/** Where reading stands: `bytes` more of the blob of a layer have arrived. */
export interface ReadProgress {
  readonly layer: Descriptor;
  readonly bytes: number;
}

/** How layers are read. */
export interface LayerReaderOptions {
  readonly cache?: ByteCache;
  /** Indexes that are known already, as of layers that are in no registry yet. */
  readonly known?: ReadonlyMap<Digest, LayerIndex>;
  /** Unpacked layers beyond this many bytes are refused. */
  readonly maxLayerBytes?: number;
  readonly onProgress?: (progress: ReadProgress) => void;
}

/** A layer's index and whether it came from a cache. */
interface ReadIndex {
  readonly index: LayerIndex;
  readonly cached: boolean;
}

/** Reads layers; indexes of the same digest are read once per reader. */
export interface LayerReader {
  /** The unpacked tar. */
  readTar(repository: RepositoryReader, layer: Descriptor): AsyncIterable<Buffer>;
  /**
   * The index, from memory, the cache, or the registry, in this order. Only reading from the registry offers contents to
   * `keep` and goes at a `pace`.
   */
  readIndex(repository: RepositoryReader, layer: Descriptor, keep?: KeepFile, pace?: Pace): Promise<ReadIndex>;
  /** The index read anew from the registry, and remembered, with the digest of the unpacked tar. */
  readAnew(repository: RepositoryReader, layer: Descriptor): Promise<{ index: LayerIndex; diffId: Digest }>;
}

/** Creates a reader. Its memory of indexes lasts as long as it does, so create one per comparison. */
export function createLayerReader({ cache, known, maxLayerBytes, onProgress }: LayerReaderOptions): LayerReader {
  const indexes = new Map<Digest, Promise<ReadIndex>>(
    [...(known ?? [])].map(([digest, index]) => [digest, Promise.resolve({ index, cached: true })]),
  );

  async function* readBlob(repository: RepositoryReader, layer: Descriptor): AsyncGenerator<Uint8Array> {
    for await (const chunk of repository.readBlob(layer)) {
      onProgress?.({ layer, bytes: chunk.length });
      yield chunk;
    }
  }

  const unpack = (repository: RepositoryReader, layer: Descriptor, transient: boolean): AsyncGenerator<Buffer> =>
    decompress(readBlob(repository, layer), {
      compression: compressionOf(layer.mediaType),
      subject: layer.digest,
      transient,
      ...(maxLayerBytes === undefined ? {} : { maxBytes: maxLayerBytes }),
    });

  const load = async (
    repository: RepositoryReader,
    layer: Descriptor,
    keep?: KeepFile,
    pace?: Pace,
  ): Promise<ReadIndex> => {
    const stored = await cache?.get(cacheName(layer.digest));
    const cached = stored === undefined ? undefined : tryDecode(stored);
    if (cached !== undefined) return { index: cached, cached: true };
    const tar = unpack(repository, layer, true);
    const index = await indexTar(pace === undefined ? tar : pace(tar), {
      subject: layer.digest,
      ...(keep === undefined ? {} : { keep }),
    });
    await cache?.put(cacheName(layer.digest), encodeLayerIndex(index));
    return { index, cached: false };
  };

  return {
    readTar: (repository, layer) => unpack(repository, layer, false),
    readIndex(repository, layer, keep, pace) {
      const read = indexes.get(layer.digest);
      if (read !== undefined) return read;
      const reading = load(repository, layer, keep, pace);
      indexes.set(layer.digest, reading);
      reading.catch(() => indexes.delete(layer.digest));
      return reading;
    },
    async readAnew(repository, layer) {
      const hasher = createHash("sha256");
      const index = await indexTar(tap(unpack(repository, layer, true), hasher), { subject: layer.digest });
      indexes.set(layer.digest, Promise.resolve({ index, cached: false }));
      return { index, diffId: `sha256:${hasher.digest("hex")}` };
    },
  };
}

async function* tap(source: AsyncIterable<Buffer>, hasher: Hash): AsyncGenerator<Buffer> {
  for await (const chunk of source) {
    hasher.update(chunk);
    yield chunk;
  }
}

function cacheName(digest: Digest): string {
  return `layer-index/v${INDEX_VERSION}/${digest.replace(":", "-")}`;
}

/** A damaged index costs a re-read, nothing else. */
function tryDecode(bytes: Uint8Array): LayerIndex | undefined {
  try {
    return decodeLayerIndex(bytes);
  } catch (error) {
    if (error instanceof ImageError) return undefined;
    throw error;
  }
}
