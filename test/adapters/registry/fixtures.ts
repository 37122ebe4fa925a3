// What the registry adapters' tests share: seeded content, manifests, patience without waiting.
import { createHash } from "node:crypto";
import {
  createRegistries,
  type ClosableRegistries,
  type RegistriesOptions,
} from "../../../src/adapters/registry/index.ts";
import type { Descriptor } from "../../../src/core/image/descriptor.ts";
import type { RegistryError } from "../../../src/core/image/registry-error.ts";
import type { NewManifest } from "../../../src/ports/registry.ts";

/** The descriptor of bytes. */
export function describeBytes(
  bytes: Uint8Array,
  mediaType = "application/vnd.oci.image.layer.v1.tar+gzip",
): Descriptor {
  return { mediaType, digest: `sha256:${createHash("sha256").update(bytes).digest("hex")}`, size: bytes.length };
}

/** The bytes as a stream of parts of at most `partBytes`. */
export async function* inParts(bytes: Uint8Array, partBytes: number): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += partBytes) yield bytes.subarray(start, start + partBytes);
}

/** Everything an iterable yields. */
export async function collect(content: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of content) parts.push(part);
  return Buffer.concat(parts);
}

/** An image manifest over existing blobs. */
export function manifestOf(config: Descriptor, layers: readonly Descriptor[]): NewManifest {
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  return { mediaType, bytes: Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config, layers })) };
}

/** Registries that retry at once, and the pauses they would have made, in ms. */
export function createPatientRegistries(options: RegistriesOptions = {}): {
  readonly registries: ClosableRegistries;
  readonly pauses: number[];
} {
  const pauses: number[] = [];
  const sleep = async (ms: number): Promise<void> => void pauses.push(ms);
  const registries = createRegistries({
    credentials: async () => undefined,
    ...options,
    retry: { sleep, random: () => 0.5, ...options.retry },
  });
  return { registries, pauses };
}

/** The RegistryError a call fails with; anything else fails the test. */
export async function failureOf(call: Promise<unknown>): Promise<RegistryError> {
  const error: unknown = await call.then(
    () => new Error("the call succeeded"),
    (error: unknown) => error,
  );
  if (error instanceof Error && error.name === "RegistryError") return error as RegistryError;
  throw error;
}
