// Pulls the images that a Dockerfile names, whole: configuration, layers and the file tree they make.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { ContentStore } from "../../edge-device/content-store.ts";
import { createDirectory, type DirectoryNode, stackLayer } from "../../edge-device/layer-tree.ts";
import { compressionOf } from "../../edge-device/manifest.ts";
import { pullImage } from "../../edge-device/pull-image.ts";
import { PullError } from "../../edge-device/pull-error.ts";
import type { RegistryClient } from "../../edge-device/registry-client.ts";
import { unpackLayer } from "../../edge-device/unpack-layer.ts";
import type { ImageName } from "../image-names.ts";
import { RunError } from "../run-error.ts";
import type { ImageBlob } from "./push-image.ts";

/** An image's configuration as JSON (OCI image-spec, config.md). */
export interface ImageJson {
  readonly config?: Readonly<Record<string, unknown>> | null;
  readonly history?: readonly unknown[];
  readonly [key: string]: unknown;
}

/** A layer and what its tar hashes to. */
export interface ImageLayer extends ImageBlob {
  readonly diffId: string;
}

/** A pulled image; the tree is the caller's to change. */
export interface BaseImage {
  readonly json: ImageJson;
  readonly layers: readonly ImageLayer[];
  readonly tree: DirectoryNode;
}

/** Pulls images of one run; a layer is unpacked once. */
export interface BaseImages {
  /** @throws RunError IMAGE_UNAVAILABLE */
  pull(
    name: ImageName,
    platform: { readonly os: string; readonly architecture: string },
    signal: AbortSignal,
  ): Promise<BaseImage>;
}

const DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar";

/** Creates a puller that keeps contents in `folder`. */
export function createBaseImages(folder: string, client: RegistryClient, store: ContentStore): BaseImages {
  const trees = new Map<string, Promise<DirectoryNode>>();
  const hexOf = (digest: string): string => digest.slice("sha256:".length);

  async function unpack(digest: string, diffId: string, compression: "none" | "gzip" | "zstd"): Promise<DirectoryNode> {
    const files = join(folder, "layers", hexOf(diffId));
    mkdirSync(files, { recursive: true });
    const { tree } = await unpackLayer({ blob: store.open(digest), compression, diffId, folder: files });
    return tree;
  }

  return {
    async pull(name, platform, signal) {
      const text = `${name.registry}/${name.repository}${name.digest === undefined ? `:${name.tag}` : `@${name.digest}`}`;
      try {
        const image = await pullImage(text, { client, store, platform, signal });
        const root = createDirectory();
        const layers: ImageLayer[] = [];
        for (const { descriptor, diffId } of image.layers) {
          const compression = compressionOf(descriptor);
          const tree = trees.get(diffId) ?? unpack(descriptor.digest, diffId, compression);
          trees.set(diffId, tree);
          stackLayer(root, await tree);
          layers.push({
            // What an agent pushes is in Docker's terms, whatever the base was in.
            mediaType: compression === "none" ? DOCKER_LAYER : `${DOCKER_LAYER}.${compression}`,
            digest: descriptor.digest,
            size: descriptor.size,
            file: join(folder, "blobs", "sha256", hexOf(descriptor.digest)),
            origin: { registry: name.registry, repository: name.repository },
            diffId,
          });
        }
        const json = JSON.parse((await store.read(image.configDigest)).toString("utf8")) as ImageJson;
        return { json, layers, tree: root };
      } catch (cause) {
        signal.throwIfAborted();
        if (!(cause instanceof PullError)) throw cause;
        throw new RunError("IMAGE_UNAVAILABLE", { operation: "pull", subject: text, got: cause.message, cause });
      }
    },
  };
}
