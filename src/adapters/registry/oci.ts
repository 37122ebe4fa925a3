// One repository of any registry that speaks the OCI distribution API.
import type { Repository } from "../../ports/registry.ts";
import { readBlob } from "./blob-reader.ts";
import { hasBlob, uploadBlob } from "./blob-writer.ts";
import { getManifest, putManifest } from "./manifests.ts";
import { createNames, requireDigest, requireRepository } from "./names.ts";
import type { RetryPolicy } from "./retry.ts";
import type { Session } from "./session.ts";
import { listTags } from "./tags.ts";
import { cancelUpload, locationOf } from "./upload.ts";

/** What a repository is built from; `registry` is the name it goes by, `base` where its API is. */
export interface RepositoryOptions {
  readonly registry: string;
  readonly repository: string;
  readonly base: URL;
  readonly session: Session;
  readonly retry: RetryPolicy;
}

/** Answers to a mount that mean "no": the blob is to be uploaded instead. */
const NO_MOUNT: readonly number[] = [400, 401, 403, 404, 405, 501];

/**
 * Opens a repository over the OCI distribution API.
 *
 * @throws RegistryError NAME_UNKNOWN for a name that no registry can hold
 */
export function createOciRepository(options: RepositoryOptions): Repository {
  const { registry, repository, base, session, retry } = options;
  const names = createNames(registry, repository);
  requireRepository(names.describe("open", "", "NAME_UNKNOWN"), repository);
  return {
    registry,
    repository,
    getManifest: (tagOrDigest) => getManifest(session, names, tagOrDigest),
    readBlob: (descriptor) => readBlob(session, names, retry, descriptor),
    putManifest: (tagOrDigest, manifest) => putManifest(session, names, tagOrDigest, manifest),
    async writeBlob(descriptor, content) {
      if (await hasBlob(session, names, descriptor)) return;
      await uploadBlob(session, names, base, retry, descriptor, content);
    },
    async mountBlob(digest, fromRepository) {
      const operation = names.describe("mount blob", digest, "BLOB_UNKNOWN");
      requireDigest(operation, digest);
      requireRepository(operation, fromRepository);
      const query = new URLSearchParams({ mount: digest, from: fromRepository });
      const scopes = [...names.scopes("pull,push"), ...createNames(registry, fromRepository).scopes("pull")];
      const response = await session.request({
        operation,
        method: "POST",
        path: names.path(`blobs/uploads/?${query.toString()}`),
        scopes,
        expect: [201, 202, ...NO_MOUNT],
      });
      await response.discard();
      // 202 opens an ordinary upload, which nobody is going to use.
      if (response.status === 202) {
        await cancelUpload(session, operation, scopes, locationOf(operation, response, base));
      }
      return response.status === 201;
    },
    listTags: () => listTags(session, names),
  };
}
