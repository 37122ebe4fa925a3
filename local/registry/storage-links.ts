// Signed links to blobs on a second host, where Azure's registry sends its clients for content.
import { createHmac, randomBytes } from "node:crypto";
import { isDigest } from "./names.ts";

/** A blob, and the client that its bytes are counted for. */
export interface StorageLink {
  readonly repository: string;
  readonly digest: string;
  readonly client: string;
}

/** Issues links and reads them back. */
export interface StorageLinks {
  /** A path with its query; it stays valid while the registry runs. */
  sign(link: StorageLink): string;
  /** What a link says; undefined when it was not signed here. */
  read(path: string, query: URLSearchParams): StorageLink | undefined;
}

const PATH = /^\/storage\/(.+)\/blobs\/([^/]+)$/;

/** Creates the links with a key of their own. */
export function createStorageLinks(): StorageLinks {
  const key = randomBytes(32);
  const signatureOf = ({ repository, digest, client }: StorageLink): string =>
    createHmac("sha256", key).update(`${repository}\n${digest}\n${client}`).digest("hex");
  return {
    sign(link) {
      const query = new URLSearchParams({ client: link.client, sig: signatureOf(link) });
      return `/storage/${link.repository}/blobs/${link.digest}?${query.toString()}`;
    },
    read(path, query) {
      const [, repository = "", digest = ""] = PATH.exec(path) ?? [];
      const link = { repository, digest, client: query.get("client") ?? "" };
      return isDigest(digest) && query.get("sig") === signatureOf(link) ? link : undefined;
    },
  };
}
