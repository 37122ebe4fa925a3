// Images that differ from a good one in a single respect: platform, base layer, config type, or an index around them.
import { createHash } from "node:crypto";
import type { PushableImage, PushBlob } from "../../local/demo/push-image.ts";

interface Manifest {
  readonly config: { readonly mediaType: string; readonly size: number; readonly digest: string };
  readonly layers: readonly { readonly mediaType: string; readonly size: number; readonly digest: string }[];
}

interface Config {
  readonly rootfs: { readonly type: string; readonly diff_ids: readonly string[] };
  readonly history: readonly unknown[];
}

const OCI_INDEX = "application/vnd.oci.image.index.v1+json";

const sha256 = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

function toBlob(value: unknown): PushBlob & { readonly content: Uint8Array } {
  const content = Buffer.from(JSON.stringify(value));
  return { digest: sha256(content), size: content.length, content };
}

/** The image with its config and manifest changed; `change` returns what differs. */
function rewrite(
  image: PushableImage,
  change: (config: Config, manifest: Manifest) => { readonly config?: object; readonly manifest?: object },
): PushableImage {
  const [configBlob, ...layers] = image.blobs;
  if (!(configBlob?.content instanceof Uint8Array)) throw new TypeError("the config must be the first blob, in memory");
  const config = JSON.parse(Buffer.from(configBlob.content).toString()) as Config;
  const manifest = JSON.parse(Buffer.from(image.manifest).toString()) as Manifest;
  const changed = change(config, manifest);
  const blob = toBlob({ ...config, ...changed.config });
  const described = { ...manifest, ...changed.manifest };
  const bytes = Buffer.from(
    JSON.stringify({ ...described, config: { ...described.config, digest: blob.digest, size: blob.size } }),
  );
  return { ...image, manifest: bytes, digest: sha256(bytes), blobs: [blob, ...layers] };
}

/** The same image said to be for another architecture. */
export const forArchitecture = (image: PushableImage, architecture: string): PushableImage =>
  rewrite(image, () => ({ config: { architecture } }));

/** The same image without its lowest layer, which is the one that others share. */
export const withoutBase = (image: PushableImage): PushableImage =>
  rewrite(image, ({ rootfs, history }, { layers }) => ({
    config: { rootfs: { ...rootfs, diff_ids: rootfs.diff_ids.slice(1) }, history: history.slice(1) },
    manifest: { layers: layers.slice(1) },
  }));

/** The same blobs as something that is no container image. */
export const withConfigType = (image: PushableImage, mediaType: string): PushableImage =>
  rewrite(image, (_config, { config }) => ({ manifest: { config: { ...config, mediaType } } }));

/** An index over images that are in the repository already. */
export function indexOf(
  images: readonly { readonly image: PushableImage; readonly architecture: string }[],
): PushableImage {
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_INDEX,
      manifests: images.map(({ image, architecture }) => ({
        mediaType: image.mediaType,
        digest: image.digest,
        size: image.manifest.length,
        platform: { os: "linux", architecture },
      })),
    }),
  );
  return { mediaType: OCI_INDEX, manifest, digest: sha256(manifest), blobs: [] };
}
