// The media types of images, and what each of them means.
import { ImageError } from "./image-error.ts";

/** Docker image manifest v2, schema 2. */
export const DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
/** Docker manifest list. */
export const DOCKER_MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json";
/** Docker image config. */
export const DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json";
/** Docker layer, tar with gzip. */
export const DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/** OCI image manifest. */
export const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
/** OCI image index. */
export const OCI_INDEX = "application/vnd.oci.image.index.v1+json";
/** OCI image config. */
export const OCI_CONFIG = "application/vnd.oci.image.config.v1+json";
/** OCI layer, tar with gzip. */
export const OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip";

/** How a layer's tar is packed. */
export type Compression = "none" | "gzip" | "zstd";

const LAYER_COMPRESSIONS: ReadonlyMap<string, Compression> = new Map([
  [DOCKER_LAYER_GZIP, "gzip"],
  ["application/vnd.docker.image.rootfs.diff.tar", "none"],
  ["application/vnd.docker.image.rootfs.diff.tar.zstd", "zstd"],
  ["application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "gzip"],
  ["application/vnd.docker.image.rootfs.foreign.diff.tar", "none"],
  [OCI_LAYER_GZIP, "gzip"],
  ["application/vnd.oci.image.layer.v1.tar", "none"],
  ["application/vnd.oci.image.layer.v1.tar+zstd", "zstd"],
  ["application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "gzip"],
  ["application/vnd.oci.image.layer.nondistributable.v1.tar", "none"],
  ["application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", "zstd"],
]);

/**
 * How a layer of this media type is packed.
 * @throws ImageError MEDIA_TYPE_UNSUPPORTED
 */
export function compressionOf(mediaType: string): Compression {
  const compression = LAYER_COMPRESSIONS.get(mediaType);
  if (compression !== undefined) return compression;
  throw new ImageError("MEDIA_TYPE_UNSUPPORTED", {
    operation: "read layer",
    subject: "of an image",
    got: `media type ${mediaType}`,
    want: "a Docker or OCI layer: tar, plain or with gzip or zstd",
  });
}
