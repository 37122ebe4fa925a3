// Reads and writes manifests over the OCI distribution API, byte for byte, checked by digest.
import type { Digest } from "../../core/image/descriptor.ts";
import type { NewManifest, RawManifest } from "../../ports/registry.ts";
import { digestOf, isDigest } from "./content.ts";
import { fail, type Operation } from "./failure.ts";
import { type RepositoryNames, requireTagOrDigest } from "./names.ts";
import type { Session } from "./session.ts";

/** The most bytes a manifest may have (OCI distribution-spec: registries should refuse more). */
export const MAX_MANIFEST_BYTES: number = 4 * 1024 * 1024;

const ACCEPT = [
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
].join(", ");

/** Reads the manifest behind a tag or digest. */
export async function getManifest(session: Session, names: RepositoryNames, tagOrDigest: string): Promise<RawManifest> {
  const operation = names.describe("read manifest", tagOrDigest, "MANIFEST_UNKNOWN");
  requireTagOrDigest(operation, tagOrDigest);
  const request = {
    operation,
    method: "GET",
    path: names.path(`manifests/${tagOrDigest}`),
    scopes: names.scopes("pull"),
    headers: { accept: ACCEPT, "accept-encoding": "identity" },
    expect: [200],
  } as const;
  const { response, bytes } = await session.requestBytes(request, MAX_MANIFEST_BYTES);
  if (bytes === undefined) throw manifestTooLarge(operation);
  const { "docker-content-digest": named, "content-type": type } = response.headers;
  const digest = checkManifestDigest(operation, bytes, tagOrDigest, named === undefined ? undefined : String(named));
  return { mediaType: mediaTypeOf(operation, bytes, type), digest, bytes };
}

/** Stores a manifest under a tag or its own digest. */
export async function putManifest(
  session: Session,
  names: RepositoryNames,
  tagOrDigest: string,
  manifest: NewManifest,
): Promise<Digest> {
  const { operation, digest } = prepareManifest(names, tagOrDigest, manifest);
  const response = await session.request({
    operation,
    method: "PUT",
    path: names.path(`manifests/${tagOrDigest}`),
    scopes: names.scopes("pull,push"),
    headers: { "content-type": manifest.mediaType, "content-length": String(manifest.bytes.length) },
    body: manifest.bytes,
    expect: [200, 201],
  });
  await response.discard();
  const stored = response.headers["docker-content-digest"];
  if (stored !== undefined && stored !== digest) {
    throw fail("DIGEST_MISMATCH", operation, { got: `${String(stored)} stored`, want: digest });
  }
  return digest;
}

/** What must hold before a manifest is sent: a good name, an allowed size, and its own digest if pushed by digest. */
export function prepareManifest(
  names: RepositoryNames,
  tagOrDigest: string,
  { bytes }: NewManifest,
): { operation: Operation; digest: Digest } {
  const operation = names.describe("write manifest", tagOrDigest, "NAME_UNKNOWN");
  requireTagOrDigest(operation, tagOrDigest);
  if (bytes.length > MAX_MANIFEST_BYTES) throw manifestTooLarge(operation);
  const digest = digestOf(bytes, isDigest(tagOrDigest) ? tagOrDigest : "sha256:");
  if (isDigest(tagOrDigest) && digest !== tagOrDigest) {
    throw fail("DIGEST_MISMATCH", operation, { got: digest, want: tagOrDigest });
  }
  return { operation, digest };
}

/** The manifest's digest, if it is the one asked for and the one the registry named. */
export function checkManifestDigest(
  operation: Operation,
  bytes: Uint8Array,
  tagOrDigest: string,
  named: string | undefined,
): Digest {
  const wanted = isDigest(tagOrDigest) ? tagOrDigest : named;
  if (wanted === undefined) return digestOf(bytes);
  if (!isDigest(wanted)) {
    throw fail("UNEXPECTED_RESPONSE", operation, { got: `digest ${wanted}`, want: "a sha256 or sha512 digest" });
  }
  const actual = digestOf(bytes, wanted);
  if (actual !== wanted) throw fail("DIGEST_MISMATCH", operation, { got: actual, want: wanted });
  return actual;
}

/** The media type the registry gave, or where that says nothing, the one the manifest gives itself. */
export function mediaTypeOf(operation: Operation, bytes: Uint8Array, contentType: string | undefined): string {
  let manifest: unknown;
  try {
    manifest = JSON.parse(Buffer.from(bytes).toString());
  } catch {
    manifest = undefined;
  }
  if (typeof manifest !== "object" || manifest === null) {
    throw fail("UNEXPECTED_RESPONSE", operation, { got: "a manifest that is not JSON", want: "a JSON object" });
  }
  const given = contentType?.split(";")[0]?.trim().toLowerCase() ?? "";
  if (given.startsWith("application/vnd.")) return given;
  const own = (manifest as { mediaType?: unknown }).mediaType;
  return typeof own === "string" ? own : given;
}

/** The error for a manifest above MAX_MANIFEST_BYTES. */
export function manifestTooLarge(operation: Operation): Error {
  return fail("MANIFEST_TOO_LARGE", operation, {
    got: `over ${MAX_MANIFEST_BYTES} bytes`,
    want: `at most ${MAX_MANIFEST_BYTES}`,
  });
}
