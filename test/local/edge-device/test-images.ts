// Builds small images for the device's tests from lists of tar entries.
import { createHash } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { gzipSync, zstdCompressSync } from "node:zlib";
import type { Header } from "tar-stream";
import { pack } from "tar-stream";

/** A tar entry: a header and, for files, content. */
export type TestEntry = Partial<Header> & { readonly name: string; readonly content?: string | Buffer };

/** A layer's blob and what it unpacks to. */
export interface TestLayer {
  readonly mediaType: string;
  readonly blob: Buffer;
  readonly digest: string;
  readonly diffId: string;
}

/** An image and all its content by digest. */
export interface TestImage {
  readonly digest: string;
  readonly configDigest: string;
  readonly layers: readonly TestLayer[];
  readonly contents: ReadonlyMap<string, { bytes: Buffer; mediaType: string }>;
}

export const digestOf = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** Packs entries into a tar. */
export async function packTar(entries: readonly TestEntry[]): Promise<Buffer> {
  const archive = pack();
  for (const { content = "", ...header } of entries) {
    archive.entry({ mode: 0o644, mtime: new Date(1_700_000_000_000), ...header }, content);
  }
  archive.finalize();
  return buffer(archive);
}

/** Packs entries into a layer. */
export async function buildLayer(
  entries: readonly TestEntry[],
  compression: "none" | "gzip" | "zstd" = "gzip",
): Promise<TestLayer> {
  return wrapLayer(await packTar(entries), compression);
}

/** Makes a layer of raw tar bytes. */
export function wrapLayer(tar: Buffer, compression: "none" | "gzip" | "zstd" = "gzip"): TestLayer {
  const suffix = compression === "none" ? "" : `+${compression}`;
  const blob = compression === "gzip" ? gzipSync(tar) : compression === "zstd" ? zstdCompressSync(tar) : tar;
  const mediaType = `application/vnd.oci.image.layer.v1.tar${suffix}`;
  return { mediaType, blob, digest: digestOf(blob), diffId: digestOf(tar) };
}

/** Puts layers and an image configuration together. */
export function buildImage(
  layers: readonly TestLayer[],
  config: Record<string, unknown> = {},
  changes: { readonly manifest?: Record<string, unknown> } = {},
): TestImage {
  const contents = new Map<string, { bytes: Buffer; mediaType: string }>();
  const add = (bytes: Buffer, mediaType: string): { mediaType: string; digest: string; size: number } => {
    const digest = digestOf(bytes);
    contents.set(digest, { bytes, mediaType });
    return { mediaType, digest, size: bytes.length };
  };
  const rootfs = { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) };
  const configBytes = Buffer.from(JSON.stringify({ os: "linux", architecture: "amd64", config, rootfs }));
  const configDescriptor = add(configBytes, "application/vnd.oci.image.config.v1+json");
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifest = {
    schemaVersion: 2,
    mediaType,
    config: configDescriptor,
    layers: layers.map(({ blob, mediaType }) => add(blob, mediaType)),
    ...changes.manifest,
  };
  const { digest } = add(Buffer.from(JSON.stringify(manifest)), mediaType);
  return { digest, configDigest: configDescriptor.digest, layers, contents };
}

/** A file entry that can be executed. */
export function executable(name: string, content: string): TestEntry {
  return { name, content, mode: 0o755 };
}
