// A cache of immutable bytes as blobs of one container.
import { BlobServiceClient, RestError } from "@azure/storage-blob";
import type { ByteCache } from "../../ports/byte-cache.ts";
import type { StorageAccess } from "./documents.ts";

const hasStatus = (error: unknown, ...statuses: number[]): boolean =>
  error instanceof RestError && error.statusCode !== undefined && statuses.includes(error.statusCode);

/** Opens the container, creating it on first use. Names may contain any character that blob names may. */
export function createByteCache(access: StorageAccess, container: string): ByteCache {
  const service =
    "connectionString" in access
      ? BlobServiceClient.fromConnectionString(access.connectionString)
      : new BlobServiceClient(access.endpoint, access.credential);
  const client = service.getContainerClient(container);
  let created: Promise<unknown> | undefined;
  const ready = async (): Promise<void> => {
    created ??= client.createIfNotExists();
    await created.catch((error: unknown) => {
      // A failure that passes must not outlast its cause.
      created = undefined;
      throw error;
    });
  };

  return {
    async get(name) {
      try {
        return await client.getBlockBlobClient(name).downloadToBuffer();
      } catch (error) {
        if (hasStatus(error, 404)) return undefined;
        throw error;
      }
    },
    async put(name, bytes) {
      await ready();
      try {
        await client.getBlockBlobClient(name).uploadData(bytes, { conditions: { ifNoneMatch: "*" } });
      } catch (error) {
        // Somebody else stored the same immutable bytes first.
        if (!hasStatus(error, 409, 412)) throw error;
      }
    },
  };
}
