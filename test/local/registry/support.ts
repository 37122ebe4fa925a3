// What the registry's tests share: a registry in a temporary folder, seeded content, and images made of it.
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { createRegistry, type LocalRegistry, type RegistryOptions } from "../../../local/registry/registry.ts";

export const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
export const OCI_INDEX = "application/vnd.oci.image.index.v1+json";
export const OCI_CONFIG = "application/vnd.oci.image.config.v1+json";
export const OCI_LAYER = "application/vnd.oci.image.layer.v1.tar";

/** A folder that is removed when the test ends. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "lighter-registry-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A registry in a folder of its own, closed when the test ends. */
export async function startRegistry(options: Partial<RegistryOptions> = {}): Promise<LocalRegistry> {
  const folder = options.folder ?? (await temporaryFolder());
  const registry = await createRegistry({ ...options, folder });
  onTestFinished(() => registry.close());
  return registry;
}

/** A stepped pseudo-random generator (mulberry32): the same seed gives the same numbers in [0, 2^32). */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** `length` seeded bytes that do not compress. */
export function seededBytes(seed: number, length: number): Buffer {
  const next = createRandom(seed);
  const words = new Uint32Array(Math.ceil(length / 4)).map(() => next());
  return Buffer.from(words.buffer, 0, length);
}

export function digestOf(bytes: Uint8Array, algorithm: "sha256" | "sha512" = "sha256"): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
}

/** Uploads a blob in one request and returns its digest. */
export async function pushBlob(url: string, name: string, bytes: Uint8Array, headers = {}): Promise<string> {
  const digest = digestOf(bytes);
  const response = await fetch(`${url}/v2/${name}/blobs/uploads/?digest=${digest}`, {
    method: "POST",
    body: Buffer.from(bytes),
    headers: { "Content-Type": "application/octet-stream", ...headers },
  });
  if (response.status !== 201) throw new Error(`push blob: ${response.status} ${await response.text()}`);
  return digest;
}

export function putManifest(
  url: string,
  name: string,
  reference: string,
  manifest: unknown,
  mediaType: string = OCI_MANIFEST,
): Promise<Response> {
  const body = typeof manifest === "string" ? manifest : JSON.stringify(manifest);
  return fetch(`${url}/v2/${name}/manifests/${reference}`, {
    method: "PUT",
    body,
    headers: { "Content-Type": mediaType },
  });
}

/** An image whose one layer is `layer`; returns the manifest and its digest after the push. */
export async function pushImage(
  url: string,
  name: string,
  tag: string,
  layer: Uint8Array,
  more: Readonly<Record<string, unknown>> = {},
): Promise<{ digest: string; layer: string; config: string; body: string }> {
  const config = Buffer.from(JSON.stringify({ os: "linux", architecture: "amd64", rootfs: { type: "layers" } }));
  const layerDigest = await pushBlob(url, name, layer);
  const configDigest = await pushBlob(url, name, config);
  const body = JSON.stringify({
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: { mediaType: OCI_CONFIG, digest: configDigest, size: config.length },
    layers: [{ mediaType: OCI_LAYER, digest: layerDigest, size: layer.length }],
    ...more,
  });
  const response = await putManifest(url, name, tag, body);
  if (response.status !== 201) throw new Error(`push manifest: ${response.status} ${await response.text()}`);
  return { digest: digestOf(Buffer.from(body)), layer: layerDigest, config: configDigest, body };
}

/** The codes of an error body in the spec's form. */
export async function errorCodes(response: Response): Promise<string[]> {
  const body = (await response.json()) as { errors: { code: string; message: string }[] };
  return body.errors.map(({ code }) => code);
}
