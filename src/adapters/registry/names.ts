// The URL paths of one repository, and what its operations are called in errors.
import type { RegistryErrorCode } from "../../core/image/registry-error.ts";
import { isDigest } from "./content.ts";
import { fail, type Operation } from "./failure.ts";

/** Repository names and tags (OCI distribution-spec, "Pulling manifests"). */
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^\w[\w.-]{0,127}$/;

/** Names one repository's resources. */
export interface RepositoryNames {
  readonly repository: string;
  /** An operation on a tag or digest, e.g. `read blob fleet.azurecr.io/team/app@sha256:…`. */
  describe(operation: string, tagOrDigest: string, notFound: RegistryErrorCode): Operation;
  /** `/v2/team/app/` + the rest. */
  path(rest: string): string;
  /** Token scopes for actions on this repository, e.g. `pull,push`. */
  scopes(actions: string): string[];
}

/** Creates the names of one repository of one registry. */
export function createNames(registry: string, repository: string): RepositoryNames {
  return {
    repository,
    describe(operation, tagOrDigest, notFound) {
      const separator = tagOrDigest === "" ? "" : tagOrDigest.includes(":") ? "@" : ":";
      return { operation, subject: `${registry}/${repository}${separator}${tagOrDigest}`, notFound };
    },
    path: (rest) => `/v2/${repository}/${rest}`,
    scopes: (actions) => [`repository:${repository}:${actions}`],
  };
}

/** @throws RegistryError NAME_UNKNOWN for a repository name no registry can hold (it would also change the URL). */
export function requireRepository(operation: Operation, repository: string): void {
  if (REPOSITORY.test(repository) && repository.length <= 255) return;
  throw fail("NAME_UNKNOWN", operation, { got: JSON.stringify(repository), want: "a repository name" });
}

/** @throws RegistryError MANIFEST_UNKNOWN for what is neither a tag nor a digest. */
export function requireTagOrDigest(operation: Operation, tagOrDigest: string): void {
  if (TAG.test(tagOrDigest) || isDigest(tagOrDigest)) return;
  throw fail("MANIFEST_UNKNOWN", operation, { got: JSON.stringify(tagOrDigest), want: "a tag or a digest" });
}

/** @throws RegistryError UNSUPPORTED for a digest whose algorithm cannot be checked. */
export function requireDigest(operation: Operation, digest: string): void {
  if (isDigest(digest)) return;
  throw fail("UNSUPPORTED", operation, { got: JSON.stringify(digest), want: "a sha256 or sha512 digest" });
}
