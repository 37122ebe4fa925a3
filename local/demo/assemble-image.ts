// Puts a config and a manifest around finished layers, in the form that ACR's builds push.
import { createHash } from "node:crypto";
import type { BuiltLayer } from "./layer.ts";
import type { PushableImage } from "./push-image.ts";

/** What an image is besides its layers: `created` in RFC 3339, `config` the container config, one history step a layer. */
export interface ImageFacts {
  readonly created: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly layers: readonly { readonly layer: BuiltLayer; readonly createdBy: string }[];
}

const DOCKER = "application/vnd.docker";
const MANIFEST_TYPE = `${DOCKER}.distribution.manifest.v2+json`;
const CONFIG_TYPE = `${DOCKER}.container.image.v1+json`;
const LAYER_TYPE = `${DOCKER}.image.rootfs.diff.tar.gzip`;

/** An image for this machine's platform, layers from the base up (Docker image manifest v2, schema 2). */
export function assembleImage({ created, config, layers }: ImageFacts): PushableImage {
  const configBytes = Buffer.from(
    JSON.stringify({
      architecture: process.arch === "x64" ? "amd64" : process.arch,
      os: process.platform,
      created,
      config,
      rootfs: { type: "layers", diff_ids: layers.map(({ layer }) => layer.diffId) },
      history: layers.map(({ createdBy }) => ({ created, created_by: createdBy })),
    }),
  );
  const configBlob = { digest: sha256(configBytes), size: configBytes.length, content: configBytes };
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: { mediaType: CONFIG_TYPE, size: configBlob.size, digest: configBlob.digest },
      layers: layers.map(({ layer: { size, digest } }) => ({ mediaType: LAYER_TYPE, size, digest })),
    }),
  );
  return {
    mediaType: MANIFEST_TYPE,
    manifest,
    digest: sha256(manifest),
    blobs: [configBlob, ...layers.map(({ layer: { digest, size, file } }) => ({ digest, size, content: { file } }))],
  };
}

function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}
