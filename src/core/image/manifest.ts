// Image manifests and indexes of Docker (v2, schema 2) and OCI: bytes to checked values and back.
import { z } from "zod";
import type { Descriptor } from "./descriptor.ts";
import { isDigest } from "./digest.ts";
import { ImageError } from "./image-error.ts";
import { DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, OCI_INDEX, OCI_MANIFEST } from "./media-types.ts";

/** Manifests beyond this size are refused; registries commonly draw the same line (OCI distribution-spec). */
const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;

const platformSchema = z.looseObject({
  os: z.string(),
  architecture: z.string(),
  variant: z.string().exactOptional(),
});

const descriptorSchema = z.looseObject({
  mediaType: z.string(),
  digest: z.custom<Descriptor["digest"]>((value) => typeof value === "string" && isDigest(value), "not a digest"),
  size: z.int().min(0),
  urls: z.array(z.string()).exactOptional(),
  annotations: z.record(z.string(), z.string()).exactOptional(),
  platform: platformSchema.exactOptional(),
});

const manifestSchema = z.looseObject({
  schemaVersion: z.literal(2),
  mediaType: z.string().exactOptional(),
  config: descriptorSchema,
  layers: z.array(descriptorSchema),
  annotations: z.record(z.string(), z.string()).exactOptional(),
});

const indexSchema = z.looseObject({
  schemaVersion: z.literal(2),
  mediaType: z.string().exactOptional(),
  manifests: z.array(descriptorSchema),
});

/** An image manifest; `layers` go from the bottom up. */
export interface ImageManifest {
  readonly kind: "image";
  readonly mediaType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
}

/** An index (OCI) or manifest list (Docker) of images per platform. */
export interface ImageIndex {
  readonly kind: "index";
  readonly mediaType: string;
  readonly manifests: readonly Descriptor[];
}

/**
 * Reads a manifest or index; descriptors keep fields this program does not know.
 *
 * `mediaType` is what the registry called it; `subject` names it in errors.
 * @throws ImageError MANIFEST_INVALID, or MEDIA_TYPE_UNSUPPORTED for schema 1, artifacts and anything unknown
 */
export function parseManifest(bytes: Uint8Array, mediaType: string, subject: string): ImageManifest | ImageIndex {
  if (bytes.length > MAX_MANIFEST_BYTES)
    throw invalid(subject, `${bytes.length} bytes`, `at most ${MAX_MANIFEST_BYTES} bytes`);
  const essence = (mediaType.split(";")[0] ?? "").trim().toLowerCase();
  const isIndex = essence === OCI_INDEX || essence === DOCKER_MANIFEST_LIST;
  if (!isIndex && essence !== OCI_MANIFEST && essence !== DOCKER_MANIFEST)
    throw new ImageError("MEDIA_TYPE_UNSUPPORTED", {
      operation: "read manifest",
      subject,
      got: `media type ${mediaType || "(none)"}`,
      want: "a Docker v2 schema 2 or OCI manifest or index",
    });

  const json = parseJson(bytes, subject);
  const stated = typeof json === "object" && json !== null && "mediaType" in json ? json.mediaType : undefined;
  if (typeof stated === "string" && stated !== essence) throw invalid(subject, `mediaType ${stated}`, essence);
  const parsed = isIndex ? indexSchema.safeParse(json) : manifestSchema.safeParse(json);
  if (!parsed.success) throw invalid(subject, z.prettifyError(parsed.error).replaceAll(/\s*\n\s*/g, " "));
  const data = parsed.data;
  if ("manifests" in data && isIndex)
    return { kind: "index", mediaType: essence, manifests: data.manifests as readonly Descriptor[] };
  const { config, layers, annotations } = data as z.infer<typeof manifestSchema>;
  return {
    kind: "image",
    mediaType: essence,
    config,
    layers,
    ...(annotations === undefined ? {} : { annotations }),
  };
}

/** Writes an image manifest; equal values give equal bytes. */
export function serializeManifest({ mediaType, config, layers, annotations }: ImageManifest): Uint8Array {
  const value = { schemaVersion: 2, mediaType, config, layers, ...(annotations === undefined ? {} : { annotations }) };
  return Buffer.from(JSON.stringify(value), "utf8");
}

function parseJson(bytes: Uint8Array, subject: string): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as unknown;
  } catch (cause) {
    throw new ImageError("MANIFEST_INVALID", {
      operation: "read manifest",
      subject,
      got: `${bytes.length} bytes that are not JSON`,
      cause,
    });
  }
}

function invalid(subject: string, got: string, want?: string): ImageError {
  return new ImageError("MANIFEST_INVALID", {
    operation: "read manifest",
    subject,
    got,
    ...(want === undefined ? {} : { want }),
  });
}
