// Builds a delta layer from kept contents and re-read layers, in memory if small, else twice: to measure and to send.
import type { Descriptor, Digest } from "../../core/image/descriptor.ts";
import type { DeltaFile } from "../../core/image/delta-entries.ts";
import { extractFiles, packLayer, writeDeltaTar, type ContentSource } from "../../core/image/delta-layer.ts";
import { DOCKER_LAYER_GZIP, DOCKER_MANIFEST, OCI_LAYER_GZIP } from "../../core/image/media-types.ts";
import type { PlannedPair } from "./compare-images.ts";
import type { LayerReader } from "./layer-reader.ts";

/** A packed delta beyond this size is not held in memory but produced again when it is sent. */
const MAX_BUFFERED_BYTES = 16 * 1024 * 1024;

/** A delta layer, ready to be sent. */
export interface BuiltDelta {
  readonly descriptor: Descriptor;
  readonly diffId: Digest;
  /** The gzip; every call starts anew. */
  open(): Uint8Array | AsyncIterable<Uint8Array>;
}

/** Packs the delta; its media type is of the family (Docker or OCI) of the anchor's manifest. */
export async function buildDelta(planned: PlannedPair, reader: LayerReader): Promise<BuiltDelta> {
  const contents = createContentSource(planned, reader);
  const start = (): ReturnType<typeof packLayer> => packLayer(writeDeltaTar(planned.plan.delta, contents));
  const packed = start();
  let chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of packed.blob) {
    size += chunk.length;
    if (size <= MAX_BUFFERED_BYTES) chunks.push(chunk);
    else chunks = [];
  }
  const { digest, diffId } = packed.facts();
  const mediaType = planned.anchor.manifest.mediaType === DOCKER_MANIFEST ? DOCKER_LAYER_GZIP : OCI_LAYER_GZIP;
  const content = size <= MAX_BUFFERED_BYTES ? Buffer.concat(chunks, size) : undefined;
  return { descriptor: { mediaType, digest, size }, diffId, open: () => content ?? start().blob };
}

/** Takes contents from memory when all of a layer's are there, else from the layer itself in one pass. */
function createContentSource({ candidate, kept }: PlannedPair, reader: LayerReader): ContentSource {
  return async function* readContents(position: number, files: readonly DeltaFile[]): AsyncGenerator<Buffer> {
    const contents = files.map(({ entry }) => kept.get(entry));
    if (contents.every((content) => content !== undefined)) {
      yield* contents;
      return;
    }
    const layer = candidate.manifest.layers[position];
    if (layer === undefined) throw new RangeError(`build delta: no layer ${position}`);
    const ordinals = new Set(files.map(({ ordinal }) => ordinal));
    yield* extractFiles(reader.readTar(candidate.repository, layer), ordinals, layer.digest);
  };
}
