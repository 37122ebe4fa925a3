// Manifests, indexes and image configurations: what a device reads of them, and what it refuses.
import { z } from "zod";
import { PullError } from "./pull-error.ts";
import { DIGEST } from "./reference.ts";

const DOCKER = "application/vnd.docker.distribution.manifest";
const OCI = "application/vnd.oci.image";

/** Media types that a device accepts for a manifest request, in the order it prefers them. */
export const ACCEPTED_MANIFESTS: readonly string[] = [
  `${OCI}.manifest.v1+json`,
  `${OCI}.index.v1+json`,
  `${DOCKER}.v2+json`,
  `${DOCKER}.list.v2+json`,
];

const LAYER_COMPRESSIONS: Readonly<Record<string, "none" | "gzip" | "zstd">> = {
  [`${OCI}.layer.v1.tar`]: "none",
  [`${OCI}.layer.v1.tar+gzip`]: "gzip",
  [`${OCI}.layer.v1.tar+zstd`]: "zstd",
  "application/vnd.docker.image.rootfs.diff.tar": "none",
  "application/vnd.docker.image.rootfs.diff.tar.gzip": "gzip",
};

/** Names content by media type, digest and size in bytes. */
export interface ContentDescriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** The platform a device runs images of. */
export interface DevicePlatform {
  readonly os: string;
  readonly architecture: string;
}

/** An image manifest: its configuration and its layers, lowest first. */
export interface ImageManifest {
  readonly config: ContentDescriptor;
  readonly layers: readonly ContentDescriptor[];
}

/** An index: one manifest per platform. */
export interface ImageIndex {
  readonly manifests: readonly (ContentDescriptor & { readonly platform?: DevicePlatform | undefined })[];
}

/** An image configuration as far as a device needs it (OCI image-spec, config.md). */
export interface ImageConfig {
  readonly config?: ImageDefaults | null | undefined;
  readonly rootfs: { readonly type: "layers"; readonly diff_ids: readonly string[] };
}

/** What an image runs unless told otherwise. */
interface ImageDefaults {
  readonly Entrypoint?: readonly string[] | null | undefined;
  readonly Cmd?: readonly string[] | null | undefined;
  readonly Env?: readonly string[] | null | undefined;
  readonly WorkingDir?: string | null | undefined;
}

const digestSchema = z.string().regex(DIGEST);
const descriptorShape = { mediaType: z.string(), digest: digestSchema, size: z.number().int().nonnegative() };
const descriptorSchema: z.ZodType<ContentDescriptor> = z.object(descriptorShape);
const platformSchema: z.ZodType<DevicePlatform> = z.object({ os: z.string(), architecture: z.string() });
const indexSchema: z.ZodType<ImageIndex> = z.object({
  manifests: z.array(z.object({ ...descriptorShape, platform: platformSchema.optional() })),
});
const manifestSchema: z.ZodType<ImageManifest> = z.object({
  schemaVersion: z.literal(2),
  config: descriptorSchema,
  layers: z.array(descriptorSchema),
});
const wordsSchema: z.ZodType<string[] | null | undefined> = z.array(z.string()).nullish();
const configSchema: z.ZodType<ImageConfig> = z.object({
  config: z
    .object({ Entrypoint: wordsSchema, Cmd: wordsSchema, Env: wordsSchema, WorkingDir: z.string().nullish() })
    .nullish(),
  rootfs: z.object({ type: z.literal("layers"), diff_ids: z.array(digestSchema) }),
});

/** How a layer's tar is compressed. */
export type LayerCompression = "none" | "gzip" | "zstd";

function parseJson<Shape>(bytes: Uint8Array, schema: z.ZodType<Shape>, subject: string): Shape {
  try {
    return schema.parse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
  } catch (error) {
    const got = error instanceof z.ZodError ? z.prettifyError(error).replaceAll("\n", " ") : String(error);
    throw new PullError("MANIFEST_INVALID", { operation: "read manifest", subject, got, cause: error });
  }
}

/** Parses a manifest or an index, told apart by `mediaType`. @throws PullError MANIFEST_INVALID, MEDIA_TYPE_UNSUPPORTED */
export function parseManifest(bytes: Uint8Array, mediaType: string, subject: string): ImageManifest | ImageIndex {
  switch (mediaType) {
    case `${OCI}.index.v1+json`:
    case `${DOCKER}.list.v2+json`:
      return parseJson(bytes, indexSchema, subject);
    case `${OCI}.manifest.v1+json`:
    case `${DOCKER}.v2+json`: {
      const manifest = parseJson(bytes, manifestSchema, subject);
      for (const layer of manifest.layers) compressionOf(layer);
      return manifest;
    }
    default:
      throw new PullError("MEDIA_TYPE_UNSUPPORTED", { operation: "read manifest", subject, got: mediaType });
  }
}

/** Parses an image configuration that must describe `layers` layers. @throws PullError MANIFEST_INVALID */
export function parseImageConfig(bytes: Uint8Array, layers: number, subject: string): ImageConfig {
  const config = parseJson(bytes, configSchema, subject);
  if (config.rootfs.diff_ids.length !== layers) {
    const [got, want] = [`${config.rootfs.diff_ids.length} diff ids`, `${layers}`];
    throw new PullError("MANIFEST_INVALID", { operation: "read image config", subject, got, want });
  }
  return config;
}

/** How a layer is compressed, by its media type. @throws PullError MEDIA_TYPE_UNSUPPORTED (foreign layers, for one) */
export function compressionOf(layer: ContentDescriptor): LayerCompression {
  const compression = LAYER_COMPRESSIONS[layer.mediaType];
  if (compression !== undefined) return compression;
  const got = layer.mediaType;
  throw new PullError("MEDIA_TYPE_UNSUPPORTED", { operation: "read layer", subject: layer.digest, got });
}

/** The manifest of an index that fits the device's platform. @throws PullError PLATFORM_MISSING */
export function choosePlatform(index: ImageIndex, platform: DevicePlatform, subject: string): ContentDescriptor {
  const fits = index.manifests.find(
    (entry) => entry.platform?.os === platform.os && entry.platform.architecture === platform.architecture,
  );
  if (fits !== undefined) return fits;
  const got = index.manifests.map((entry) => `${entry.platform?.os}/${entry.platform?.architecture}`).join(" ");
  const want = `${platform.os}/${platform.architecture}`;
  throw new PullError("PLATFORM_MISSING", { operation: "choose platform of", subject, got, want });
}
