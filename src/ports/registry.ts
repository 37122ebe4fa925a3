// What Lighter needs of a container registry, one repository at a time.
import type { Descriptor, Digest } from "../core/image/descriptor.ts";

/** A manifest or index exactly as the registry holds it; `digest` is that of `bytes`. */
export interface RawManifest {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly bytes: Uint8Array;
}

/** A manifest to be pushed. */
export type NewManifest = Omit<RawManifest, "digest">;

/** Reads manifests and blobs of one repository; everything that arrives is checked against its digest and size. */
export interface RepositoryReader {
  /**
   * The manifest behind a tag or digest.
   * @throws RegistryError MANIFEST_UNKNOWN, NAME_UNKNOWN, UNAUTHORIZED, DENIED, MANIFEST_TOO_LARGE, DIGEST_MISMATCH, UNREACHABLE
   */
  getManifest(tagOrDigest: string): Promise<RawManifest>;
  /**
   * Streams a blob. A cut connection is resumed by a range request; the iteration throws DIGEST_MISMATCH or
   * SIZE_MISMATCH instead of ending when what came is not what the descriptor says. Ending early cancels the request.
   */
  readBlob(descriptor: Descriptor): AsyncIterable<Uint8Array>;
}

/** Writes manifests and blobs of one repository. Every call may be repeated safely. */
interface RepositoryWriter {
  /** Uploads a blob unless the repository already holds it; throws DIGEST_MISMATCH when the content is not as described. */
  writeBlob(descriptor: Descriptor, content: Uint8Array | AsyncIterable<Uint8Array>): Promise<void>;
  /** Stores a manifest under a tag or its own digest and returns its digest. */
  putManifest(tagOrDigest: string, manifest: NewManifest): Promise<Digest>;
  /** Links a blob of another repository of the same registry into this one; false when the registry would not. */
  mountBlob(digest: Digest, fromRepository: string): Promise<boolean>;
}

/** One repository of one registry, e.g. registry `fleet.azurecr.io`, repository `team/app`. */
export interface Repository extends RepositoryReader, RepositoryWriter {
  readonly registry: string;
  readonly repository: string;
  /** The repository's tags in lexical order, page by page. */
  listTags(): AsyncIterable<string>;
}

/** Opens repositories; how to reach a registry and with what credentials is decided here, by its host name. */
export interface Registries {
  open(registry: string, repository: string): Repository;
}
