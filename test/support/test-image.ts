// Builds small images layer by layer and puts them into any repository.
import { gzipSync, zstdCompressSync } from "node:zlib";
import type { Descriptor, Digest, Platform } from "../../src/core/image/descriptor.ts";
import type { Repository } from "../../src/ports/registry.ts";
import { writeLayerTar, type LayerFacts } from "./layers.ts";
import { sha256 } from "./memory-registries.ts";

/** An image to be built. */
export interface ImageFacts {
  readonly layers: readonly LayerFacts[];
  readonly config?: Readonly<Record<string, unknown>>;
  readonly created?: string;
  readonly platform?: Platform;
  readonly family?: "oci" | "docker";
  readonly compression?: "gzip" | "zstd" | "none";
}

const TYPES = {
  oci: {
    manifest: "application/vnd.oci.image.manifest.v1+json",
    config: "application/vnd.oci.image.config.v1+json",
    none: "application/vnd.oci.image.layer.v1.tar",
    gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
    zstd: "application/vnd.oci.image.layer.v1.tar+zstd",
  },
  docker: {
    manifest: "application/vnd.docker.distribution.manifest.v2+json",
    config: "application/vnd.docker.container.image.v1+json",
    none: "application/vnd.docker.image.rootfs.diff.tar",
    gzip: "application/vnd.docker.image.rootfs.diff.tar.gzip",
    zstd: "application/vnd.docker.image.rootfs.diff.tar.zstd",
  },
} as const;

const PACK = { gzip: gzipSync, zstd: zstdCompressSync, none: (tar: Buffer) => tar } as const;

/** Pushes an image under a tag and returns its manifest's descriptor. */
export async function pushTestImage(repository: Repository, tag: string, facts: ImageFacts): Promise<Descriptor> {
  const { layers, config = {}, created, family = "oci", compression = "gzip" } = facts;
  const { os, architecture, variant } = facts.platform ?? { os: "linux", architecture: "amd64" };
  const types = TYPES[family];
  const put = async (mediaType: string, bytes: Buffer): Promise<Descriptor> => {
    const descriptor = { mediaType, digest: sha256(bytes), size: bytes.length };
    await repository.writeBlob(descriptor, bytes);
    return descriptor;
  };
  const diffIds: Digest[] = [];
  const descriptors: Descriptor[] = [];
  for (const layer of layers) {
    const tar = writeLayerTar(layer);
    diffIds.push(sha256(tar));
    descriptors.push(await put(types[compression], PACK[compression](tar)));
  }
  const configJson = {
    architecture,
    os,
    ...(variant === undefined ? {} : { variant }),
    ...(created === undefined ? {} : { created }),
    config,
    rootfs: { type: "layers", diff_ids: diffIds },
    history: layers.map((_, at) => ({ created_by: `layer ${at}` })),
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: await put(types.config, Buffer.from(JSON.stringify(configJson))),
    layers: descriptors,
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const digest = await repository.putManifest(tag, { mediaType: types.manifest, bytes });
  const platform = { os, architecture, ...(variant === undefined ? {} : { variant }) };
  return { mediaType: types.manifest, digest, size: bytes.length, platform };
}

/** Pushes an index of images that are already there. */
export async function pushTestIndex(
  repository: Repository,
  tag: string,
  entries: readonly Descriptor[],
): Promise<void> {
  const mediaType = "application/vnd.oci.image.index.v1+json";
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests: entries }));
  await repository.putManifest(tag, { mediaType, bytes });
}
