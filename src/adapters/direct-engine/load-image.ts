// Reads what an image says of itself: manifest and config, through an index if need be.
import type { Descriptor, Digest, Platform } from "../../core/image/descriptor.ts";
import { MAX_CONFIG_BYTES, parseConfig, type ImageConfig } from "../../core/image/image-config.ts";
import { ImageError } from "../../core/image/image-error.ts";
import { parseManifest, type ImageManifest } from "../../core/image/manifest.ts";
import { DOCKER_CONFIG, OCI_CONFIG } from "../../core/image/media-types.ts";
import { formatPlatform, isSamePlatform, pickPlatform } from "../../core/image/platform.ts";
import { formatReference, parseReference, tagOrDigest, type Reference } from "../../core/image/reference.ts";
import type { Registries, Repository, RepositoryReader } from "../../ports/registry.ts";

/** An image as far as its manifest and config tell. `digest` is the manifest's, never an index's. */
export interface LoadedImage {
  readonly reference: Reference;
  readonly repository: Repository;
  readonly digest: Digest;
  readonly manifestBytes: number;
  readonly manifest: ImageManifest;
  readonly config: ImageConfig;
}

/**
 * Loads the image that a reference names.
 * @throws RegistryError, and ImageError for anything that is no image, or not one of the platform
 */
export async function loadImage(registries: Registries, text: string, platform?: Platform): Promise<LoadedImage> {
  const reference = parseReference(text);
  const repository = registries.open(reference.registry, reference.repository);
  const subject = formatReference(reference);
  let raw = await repository.getManifest(tagOrDigest(reference));
  let manifest = parseManifest(raw.bytes, raw.mediaType, subject);
  if (manifest.kind === "index") {
    const picked = pickPlatform(manifest.manifests, platform, subject);
    raw = await repository.getManifest(picked.digest);
    manifest = parseManifest(raw.bytes, raw.mediaType, `${subject} (${picked.digest})`);
    if (manifest.kind === "index") throw notAnImage(subject, "an index within an index");
  }
  const { config: descriptor, layers } = manifest;
  if (descriptor.mediaType !== DOCKER_CONFIG && descriptor.mediaType !== OCI_CONFIG)
    throw notAnImage(subject, `config of media type ${descriptor.mediaType}`);
  const config = parseConfig(await readConfig(repository, descriptor, subject), layers.length, subject);
  if (platform !== undefined && !isSamePlatform(platform, config.platform))
    throw platformMismatch(subject, config.platform, platform);
  return { reference, repository, digest: raw.digest, manifestBytes: raw.bytes.length, manifest, config };
}

/** The error of an image that is for another platform than it should be. */
export function platformMismatch(subject: string, got: Platform, want: Platform): ImageError {
  return new ImageError("PLATFORM_MISMATCH", {
    operation: "compare platforms of",
    subject,
    got: formatPlatform(got),
    want: formatPlatform(want),
  });
}

function notAnImage(subject: string, got: string): ImageError {
  return new ImageError("MEDIA_TYPE_UNSUPPORTED", { operation: "load image", subject, got, want: "a container image" });
}

async function readConfig(repository: RepositoryReader, descriptor: Descriptor, subject: string): Promise<Buffer> {
  if (descriptor.size > MAX_CONFIG_BYTES)
    throw new ImageError("CONFIG_INVALID", {
      operation: "read config of",
      subject,
      got: `${descriptor.size} bytes`,
      want: `at most ${MAX_CONFIG_BYTES}`,
    });
  const chunks: Uint8Array[] = [];
  for await (const chunk of repository.readBlob(descriptor)) chunks.push(chunk);
  return Buffer.concat(chunks);
}
