// Pulls an image into a content store: manifest, configuration and the layers the store does not hold yet.
import { createHash } from "node:crypto";
import type { ContentStore, ExpectedContent } from "./content-store.ts";
import type { ContentDescriptor, DevicePlatform, ImageConfig, ImageManifest } from "./manifest.ts";
import { choosePlatform, parseImageConfig, parseManifest } from "./manifest.ts";
import { PullError } from "./pull-error.ts";
import { parseImageReference } from "./reference.ts";
import type { RegistryClient } from "./registry-client.ts";

/** Where images come from and where their content goes. */
export interface PullOptions {
  readonly client: RegistryClient;
  readonly store: ContentStore;
  readonly platform?: DevicePlatform;
  readonly signal?: AbortSignal;
}

/** An image whose content is all in the store. */
export interface PulledImage {
  readonly reference: string;
  /** The digest the reference stands for: of the index where there is one, else of the manifest. */
  readonly digest: string;
  readonly manifestDigest: string;
  /** What Docker calls the image id. */
  readonly configDigest: string;
  readonly config: ImageConfig;
  readonly layers: readonly PulledLayer[];
  /** Body bytes that came over the wire in this pull: manifests, configuration and layers; headers are not in it. */
  readonly bytesPulled: number;
  /** Compressed bytes of layers that were there already. */
  readonly bytesReused: number;
}

/** One layer of a pulled image; `reused` when the store held it before. */
export interface PulledLayer {
  readonly descriptor: ContentDescriptor;
  readonly diffId: string;
  readonly reused: boolean;
}

/** Manifests larger than this many bytes are refused, as registries and clients commonly do. */
const MANIFEST_LIMIT = 4 << 20;
const CONCURRENT_LAYERS = 3;

/** The platform of this machine in the image specification's words. */
export function localPlatform(): DevicePlatform {
  const architectures: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386" };
  return { os: "linux", architecture: architectures[process.arch] ?? process.arch };
}

/**
 * Pulls an image by tag or digest.
 *
 * Content already in the store is not asked for again, not even a manifest named by digest. A layer whose transfer
 * breaks leaves nothing behind and starts over at the next pull, as Docker does.
 * @throws PullError with the first failure; layers that were complete by then stay in the store
 */
export async function pullImage(text: string, options: PullOptions): Promise<PulledImage> {
  const { client, store, platform = localPlatform(), signal = new AbortController().signal } = options;
  const reference = parseImageReference(text);
  let bytesPulled = 0;
  let bytesReused = 0;

  async function fetchManifest(tagOrDigest: string): Promise<{ digest: string; bytes: Buffer; mediaType: string }> {
    const pinned = tagOrDigest.startsWith("sha256:") ? tagOrDigest : undefined;
    if (pinned !== undefined && store.has(pinned)) {
      const bytes = await store.read(pinned);
      return { digest: pinned, bytes, mediaType: mediaTypeIn(bytes, pinned) };
    }
    const response = await client.getManifest(reference, tagOrDigest, signal);
    const bytes = await readAll(response, text, signal);
    const digest = pinned ?? `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    const declared = response.headers.get("docker-content-digest");
    if (pinned === undefined && declared !== null && declared !== digest) {
      throw new PullError("DIGEST_MISMATCH", {
        operation: "pull manifest",
        subject: text,
        got: digest,
        want: declared,
      });
    }
    await store.ingest({ digest }, chunksOf(bytes));
    bytesPulled += bytes.length;
    const mediaType = response.headers.get("content-type")?.split(";")[0]?.trim() ?? mediaTypeIn(bytes, text);
    return { digest, bytes, mediaType };
  }

  async function fetchBlob(descriptor: ContentDescriptor): Promise<boolean> {
    if (store.has(descriptor.digest)) return true;
    const expected: ExpectedContent = { digest: descriptor.digest, size: descriptor.size };
    const response = await client.getBlob(reference, descriptor.digest, signal);
    const size = await store.ingest(expected, bodyOf(response, descriptor.digest, signal));
    bytesPulled += size;
    return false;
  }

  const top = await fetchManifest(reference.digest ?? (reference.tag as string));
  let manifestDigest = top.digest;
  let parsed = parseManifest(top.bytes, top.mediaType, text);
  if ("manifests" in parsed) {
    const chosen = choosePlatform(parsed, platform, text);
    const inner = await fetchManifest(chosen.digest);
    manifestDigest = inner.digest;
    parsed = parseManifest(inner.bytes, chosen.mediaType, text);
    if ("manifests" in parsed) {
      throw new PullError("MANIFEST_INVALID", {
        operation: "read manifest",
        subject: text,
        got: "an index in an index",
      });
    }
  }
  const manifest: ImageManifest = parsed;
  await fetchBlob(manifest.config);
  const config = parseImageConfig(await store.read(manifest.config.digest), manifest.layers.length, text);

  const reused = new Map<string, boolean>();
  const waiting = [...new Map(manifest.layers.map((layer) => [layer.digest, layer])).values()].values();
  const pullNext = async (): Promise<void> => {
    for (const layer of waiting) {
      const found = await fetchBlob(layer);
      reused.set(layer.digest, found);
      if (found) bytesReused += layer.size;
    }
  };
  const results = await Promise.allSettled(Array.from({ length: CONCURRENT_LAYERS }, pullNext));
  for (const result of results) if (result.status === "rejected") throw result.reason;

  const layers = manifest.layers.map((descriptor, index) => ({
    descriptor,
    diffId: config.rootfs.diff_ids[index] as string,
    reused: reused.get(descriptor.digest) as boolean,
  }));
  const configDigest = manifest.config.digest;
  return {
    reference: text,
    digest: top.digest,
    manifestDigest,
    configDigest,
    config,
    layers,
    bytesPulled,
    bytesReused,
  };
}

/** A response's body whose transport failures are PullErrors. */
async function* bodyOf(response: Response, subject: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  if (response.body === null) return;
  try {
    yield* response.body;
  } catch (error) {
    if (signal.aborted) throw error;
    const got = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    throw new PullError("UNREACHABLE", { operation: "read", subject, got, retryable: true, cause: error });
  }
}

async function readAll(response: Response, subject: string, signal: AbortSignal): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bodyOf(response, subject, signal)) {
    size += chunk.length;
    if (size > MANIFEST_LIMIT) {
      const [got, want] = [`more than ${MANIFEST_LIMIT} bytes`, `at most ${MANIFEST_LIMIT}`];
      throw new PullError("MANIFEST_INVALID", { operation: "pull manifest", subject, got, want });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function* chunksOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

function mediaTypeIn(bytes: Uint8Array, subject: string): string {
  try {
    const { mediaType, manifests } = JSON.parse(Buffer.from(bytes).toString()) as {
      mediaType?: unknown;
      manifests?: unknown;
    };
    if (typeof mediaType === "string") return mediaType;
    return manifests === undefined
      ? "application/vnd.oci.image.manifest.v1+json"
      : "application/vnd.oci.image.index.v1+json";
  } catch (error) {
    throw new PullError("MANIFEST_INVALID", { operation: "read manifest", subject, got: String(error), cause: error });
  }
}
