// Registries in memory that count what is read and written, for tests of what stands on the registry port.
import { createHash } from "node:crypto";
import type { Descriptor, Digest } from "../../src/core/image/descriptor.ts";
import { RegistryError, type RegistryErrorCode } from "../../src/core/image/registry-error.ts";
import type { RawManifest, Registries, Repository } from "../../src/ports/registry.ts";

/** Registries whose content a test may look at and change. */
export interface MemoryRegistries extends Registries {
  /** `registry/repository@digest` → content. */
  readonly blobs: Map<string, Buffer>;
  /** `registry/repository@digest` and `registry/repository:tag` → manifest. */
  readonly manifests: Map<string, RawManifest>;
  /** What happened, e.g. `read sha256:…`, `write …`, `mount …`, `put …`. */
  readonly log: string[];
  /** Bytes of the blobs whose log lines start with `verb`. */
  countBytes(verb: "read" | "write"): number;
}

/** The digest of bytes. */
export function sha256(bytes: Uint8Array): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

const CHUNK_BYTES = 60_000;

/** Creates empty registries. Blobs come in chunks and are checked as the port demands. */
export function createMemoryRegistries(): MemoryRegistries {
  const blobs = new Map<string, Buffer>();
  const manifests = new Map<string, RawManifest>();
  const log: string[] = [];
  const moved = { read: 0, write: 0 };
  const fail = (code: RegistryErrorCode, subject: string): RegistryError =>
    new RegistryError(code, { operation: "use memory registry", subject });

  const open = (registry: string, repository: string): Repository => {
    const name = `${registry}/${repository}`;
    return {
      registry,
      repository,
      async getManifest(tagOrDigest) {
        const separator = tagOrDigest.includes(":") ? "@" : ":";
        const found = manifests.get(name + separator + tagOrDigest);
        if (found === undefined) throw fail("MANIFEST_UNKNOWN", name + separator + tagOrDigest);
        return found;
      },
      async *readBlob({ digest, size }: Descriptor) {
        const blob = blobs.get(`${name}@${digest}`);
        if (blob === undefined) throw fail("BLOB_UNKNOWN", digest);
        log.push(`read ${digest}`);
        for (let at = 0; at < blob.length; at += CHUNK_BYTES) {
          const chunk = blob.subarray(at, at + CHUNK_BYTES);
          moved.read += chunk.length;
          yield chunk;
        }
        if (blob.length !== size) throw fail("SIZE_MISMATCH", digest);
        if (sha256(blob) !== digest) throw fail("DIGEST_MISMATCH", digest);
      },
      async writeBlob({ digest, size }, content) {
        if (blobs.has(`${name}@${digest}`)) return;
        const chunks: Uint8Array[] = [];
        if (content instanceof Uint8Array) chunks.push(content);
        else for await (const chunk of content) chunks.push(chunk);
        const blob = Buffer.concat(chunks);
        if (blob.length !== size || sha256(blob) !== digest) throw fail("DIGEST_MISMATCH", digest);
        log.push(`write ${digest}`);
        moved.write += blob.length;
        blobs.set(`${name}@${digest}`, blob);
      },
      async putManifest(tagOrDigest, { mediaType, bytes }) {
        const manifest: RawManifest = { mediaType, bytes, digest: sha256(bytes) };
        manifests.set(`${name}@${manifest.digest}`, manifest);
        if (!tagOrDigest.includes(":")) manifests.set(`${name}:${tagOrDigest}`, manifest);
        log.push(`put ${name} ${tagOrDigest}`);
        return manifest.digest;
      },
      async mountBlob(digest, fromRepository) {
        const blob = blobs.get(`${registry}/${fromRepository}@${digest}`);
        if (blob === undefined) return false;
        blobs.set(`${name}@${digest}`, blob);
        log.push(`mount ${digest}`);
        return true;
      },
      async *listTags() {
        const tags = [...manifests.keys()].filter((key) => key.startsWith(`${name}:`));
        yield* tags.map((key) => key.slice(name.length + 1)).sort();
      },
    };
  };
  return { open, blobs, manifests, log, countBytes: (verb) => moved[verb] };
}
