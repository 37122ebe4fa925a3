// Puts a rebased image into its repository: the anchor's layers, the delta, the config, the manifest.
import { digestOf } from "../../core/image/digest.ts";
import { carryOverConfig } from "../../core/image/image-config.ts";
import { ImageError } from "../../core/image/image-error.ts";
import { serializeManifest, type ImageManifest } from "../../core/image/manifest.ts";
import { DOCKER_CONFIG, DOCKER_MANIFEST, OCI_CONFIG } from "../../core/image/media-types.ts";
import { formatReference } from "../../core/image/reference.ts";
import { MAX_LAYERS } from "../../core/image/shared-layers.ts";
import type { Descriptor, Digest } from "../../core/image/descriptor.ts";
import type { Repository } from "../../ports/registry.ts";
import type { BuiltDelta } from "./build-delta.ts";
import type { ImagePair } from "./compare-images.ts";

/** A rebased image in memory: everything but the anchor's layers. */
export interface ComposedImage {
  readonly config: Uint8Array;
  readonly manifest: ImageManifest;
  readonly manifestBytes: Uint8Array;
}

/**
 * Composes config and manifest; the manifest's family is the anchor's, so that its layers' descriptors stay as they are.
 * @throws ImageError LAYER_LIMIT_REACHED
 */
export function composeImage({ anchor, candidate }: ImagePair, deltas: readonly BuiltDelta[]): ComposedImage {
  const layers = [...anchor.manifest.layers, ...deltas.map(({ descriptor }) => descriptor)];
  if (layers.length > MAX_LAYERS)
    throw new ImageError("LAYER_LIMIT_REACHED", {
      operation: "rebase onto",
      subject: formatReference(anchor.reference),
      got: `${layers.length} layers`,
      want: `at most ${MAX_LAYERS}; rebase onto an image with fewer layers`,
    });
  const text = carryOverConfig({
    candidate: candidate.config,
    anchor: anchor.config,
    deltaDiffIds: deltas.map(({ diffId }) => diffId),
    comment: `${candidate.digest} on ${anchor.digest}`,
  });
  const config = Buffer.from(text, "utf8");
  const isDocker = anchor.manifest.mediaType === DOCKER_MANIFEST;
  const manifest: ImageManifest = {
    kind: "image",
    mediaType: anchor.manifest.mediaType,
    config: { mediaType: isDocker ? DOCKER_CONFIG : OCI_CONFIG, digest: digestOf(config), size: config.length },
    layers,
    ...(isDocker ? {} : { annotations: annotationsOf({ anchor, candidate }) }),
  };
  return { config, manifest, manifestBytes: serializeManifest(manifest) };
}

/** The candidate's annotations, and what the image stands on (OCI image-spec, annotations.md). Docker knows none. */
function annotationsOf({ anchor, candidate }: Pick<ImagePair, "anchor" | "candidate">): Record<string, string> {
  return {
    ...candidate.manifest.annotations,
    "org.opencontainers.image.base.digest": anchor.digest,
    "org.opencontainers.image.base.name": `${anchor.reference.registry}/${anchor.reference.repository}`,
  };
}

/** Uploads an image under its digest alone, its manifest last: whoever sees it can pull all of it. Returns the digest. */
export async function pushImage(
  { anchor, candidate }: ImagePair,
  deltas: readonly BuiltDelta[],
  image: ComposedImage,
  repository: Repository,
): Promise<Digest> {
  const held = [anchor, candidate].filter((one) => isSameRepository(one.repository, repository));
  const holds = new Set(held.flatMap(({ manifest }) => manifest.layers.map(({ digest }) => digest)));
  for (const layer of anchor.manifest.layers) {
    if (holds.has(layer.digest)) continue;
    holds.add(layer.digest);
    await copyBlob(layer, anchor.repository, repository);
  }
  for (const delta of deltas) await repository.writeBlob(delta.descriptor, delta.open());
  await repository.writeBlob(image.manifest.config, image.config);
  const manifest = { mediaType: image.manifest.mediaType, bytes: image.manifestBytes };
  return await repository.putManifest(digestOf(image.manifestBytes), manifest);
}

function isSameRepository(left: Repository, right: Repository): boolean {
  return left.registry === right.registry && left.repository === right.repository;
}

/** Links a blob within its registry if possible, else sends it. */
async function copyBlob(blob: Descriptor, from: Repository, to: Repository): Promise<void> {
  if (from.registry === to.registry && (await to.mountBlob(blob.digest, from.repository))) return;
  await to.writeBlob(blob, from.readBlob(blob));
}
