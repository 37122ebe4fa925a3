// Reads a pushed manifest or index: is it one, what does it refer to, and what do listings say of it.
import { z } from "zod";
import { isDigest } from "./names.ts";
import { refuse } from "./refusal.ts";

/** The largest manifest taken, in bytes: what Azure's registry and SDK allow. */
export const MAX_MANIFEST_BYTES: number = 4 * 1024 * 1024;

const IMAGE_TYPES = [
  "application/vnd.docker.distribution.manifest.v2+json",
  "application/vnd.oci.image.manifest.v1+json",
] as const;
const INDEX_TYPES = [
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.oci.image.index.v1+json",
] as const;
const FOREIGN_LAYER = /^application\/vnd\.(docker\.image\.rootfs\.foreign|oci\.image\.layer\.nondistributable)\./;

const descriptorSchema = z.looseObject({
  mediaType: z.string().min(1),
  digest: z.string().refine(isDigest, "is not a sha256 or sha512 digest"),
  size: z.int().nonnegative(),
  urls: z.array(z.string()).optional(),
});
const commonSchema = z.looseObject({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  artifactType: z.string().optional(),
  subject: descriptorSchema.optional(),
  annotations: z.record(z.string(), z.string()).optional(),
});
const imageSchema = commonSchema.extend({
  config: descriptorSchema,
  layers: z.array(descriptorSchema),
  manifests: z.undefined().optional(),
});
const platformSchema = z.looseObject({ os: z.string(), architecture: z.string() });
const indexSchema = commonSchema.extend({
  manifests: z.array(descriptorSchema.extend({ platform: platformSchema.optional() })),
  layers: z.undefined().optional(),
});

/** One platform's manifest as an index names it. */
interface IndexEntry {
  readonly digest: string;
  readonly os?: string;
  readonly architecture?: string;
}

/** What is kept of a manifest beside its bytes. */
export interface ManifestFacts {
  readonly mediaType: string;
  /** The sum of config and layers as the manifest states them, in bytes; 0 for an index. */
  readonly imageSize: number;
  readonly config?: string;
  /** Blobs that must be in the repository; foreign layers are not. */
  readonly blobs: readonly string[];
  readonly entries: readonly IndexEntry[];
  readonly subject?: string;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

function parse(bytes: Uint8Array, repository: string): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    return refuse("MANIFEST_INVALID", { operation: "push manifest", subject: repository, got: "no JSON", cause });
  }
}

function checkShape<T>(schema: z.ZodType<T>, value: unknown, repository: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  return refuse("MANIFEST_INVALID", {
    operation: "push manifest",
    subject: repository,
    got: z.prettifyError(parsed.error),
    detail: parsed.error.issues.map(({ path, message }) => ({ path: path.join("."), message })),
  });
}

/**
 * Reads the bytes pushed with `Content-Type: contentType` (may be empty: the manifest's own field decides).
 *
 * Refuses with MANIFEST_INVALID what is not JSON, has an unknown or contradicting media type, or lacks a field; sizes
 * in descriptors are taken as stated, as other registries do.
 */
export function checkManifest(bytes: Uint8Array, contentType: string, repository: string): ManifestFacts {
  const value = parse(bytes, repository);
  const common = checkShape(commonSchema, value, repository);
  const stated = contentType.split(";")[0]?.trim() ?? "";
  const mediaType = stated === "" ? (common.mediaType ?? "") : stated;
  if (common.mediaType !== undefined && common.mediaType !== mediaType) {
    refuse("MANIFEST_INVALID", {
      operation: "push manifest",
      subject: repository,
      got: `mediaType ${common.mediaType}`,
      want: `${mediaType} as in Content-Type`,
    });
  }
  const kept = {
    mediaType,
    ...(common.subject === undefined ? {} : { subject: common.subject.digest }),
    ...(common.annotations === undefined ? {} : { annotations: common.annotations }),
  };
  if (IMAGE_TYPES.some((type) => type === mediaType)) {
    const { config, layers, artifactType } = checkShape(imageSchema, value, repository);
    const own = layers.filter((layer) => !FOREIGN_LAYER.test(layer.mediaType));
    return {
      ...kept,
      imageSize: [config, ...layers].reduce((sum, { size }) => sum + size, 0),
      config: config.digest,
      blobs: [config, ...own].map(({ digest }) => digest),
      entries: [],
      artifactType: artifactType ?? config.mediaType,
    };
  }
  if (INDEX_TYPES.some((type) => type === mediaType)) {
    const { manifests, artifactType } = checkShape(indexSchema, value, repository);
    const entries = manifests.map(({ digest, platform }) => ({
      digest,
      ...(platform === undefined ? {} : { os: platform.os, architecture: platform.architecture }),
    }));
    return { ...kept, imageSize: 0, blobs: [], entries, ...(artifactType === undefined ? {} : { artifactType }) };
  }
  return refuse("MANIFEST_INVALID", {
    operation: "push manifest",
    subject: repository,
    got: `media type ${mediaType === "" ? "none" : mediaType}`,
    want: [...IMAGE_TYPES, ...INDEX_TYPES].join(" or "),
  });
}
