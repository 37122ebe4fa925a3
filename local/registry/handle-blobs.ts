// Reading and deleting blobs (OCI distribution-spec 1.1, "Pulling blobs", "Deleting blobs").
import type { BlobStore } from "./blob-store.ts";
import { type Call, refuseMethod } from "./call.ts";
import { refuse } from "./refusal.ts";
import { type FileSlice, type Reply, replyError } from "./reply.ts";
import type { StorageLink } from "./storage-links.ts";

/** What blob readers work on. */
export interface BlobParts {
  readonly blobs: BlobStore;
  /** Where to send a client for a blob's content; undefined when it is served here. */
  redirect(link: StorageLink): string | undefined;
}

/** The media type that blobs are served and announced with. */
export const BLOB_TYPE = "application/octet-stream";

/** The bytes a Range header asks for; undefined when it is absent, of another unit, or names several ranges. */
function readRange(header: string | undefined, size: number): { start: number; end: number } | "outside" | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (match === null || (match[1] === "" && match[2] === "")) return undefined;
  if (match[1] === "") {
    const suffix = Math.min(Number(match[2]), size);
    return suffix === 0 ? "outside" : { start: size - suffix, end: size - 1 };
  }
  const start = Number(match[1]);
  const end = match[2] === "" ? size - 1 : Math.min(Number(match[2]), size - 1);
  if (match[2] !== "" && Number(match[2]) < start) return undefined;
  return start >= size ? "outside" : { start, end };
}

/** Serves a blob whole or by a single byte range (RFC 9110, 14). */
function serveBlob({ method, request }: Call, { blobs }: BlobParts, name: string, digest: string): Reply {
  const found = blobs.find(name, digest);
  if (found === undefined) {
    return refuse("BLOB_UNKNOWN", { operation: "read blob", subject: `${name}@${digest}`, detail: { digest } });
  }
  const headers = {
    "Content-Type": BLOB_TYPE,
    "Docker-Content-Digest": digest,
    "Accept-Ranges": "bytes",
    ETag: `"${digest}"`,
  };
  const range = method === "GET" ? readRange(request.headers.range, found.size) : undefined;
  if (range === "outside") {
    return refuse("RANGE_INVALID", {
      operation: "read blob",
      subject: `${name}@${digest}`,
      got: request.headers.range ?? "",
      want: `within ${found.size} bytes`,
      headers: { "Content-Range": `bytes */${found.size}` },
    });
  }
  const slice = ({ start, end }: { start: number; end: number }): FileSlice => ({
    path: found.path,
    start,
    length: end - start + 1,
  });
  if (range === undefined) return { status: 200, headers, body: slice({ start: 0, end: found.size - 1 }) };
  const contentRange = `bytes ${range.start}-${range.end}/${found.size}`;
  return { status: 206, headers: { ...headers, "Content-Range": contentRange }, body: slice(range) };
}

/** `GET|HEAD|DELETE /v2/<name>/blobs/<digest>`; a GET is sent to storage when that is on. */
export function handleBlob(call: Call, parts: BlobParts, name: string, digest: string): Reply {
  const { method } = call;
  if (method === "DELETE") {
    if (!parts.blobs.unlink(name, digest)) {
      refuse("BLOB_UNKNOWN", { operation: "delete blob", subject: `${name}@${digest}` });
    }
    return { status: 202, headers: { "Docker-Content-Digest": digest } };
  }
  if (method !== "GET" && method !== "HEAD") refuseMethod(call, "GET", "HEAD", "DELETE");
  const location = method === "GET" ? parts.redirect({ repository: name, digest, client: call.client }) : undefined;
  if (location === undefined || parts.blobs.find(name, digest) === undefined) {
    return serveBlob(call, parts, name, digest);
  }
  return { status: 307, headers: { Location: location, "Docker-Content-Digest": digest } };
}

/** Serves what a signed link names; storage takes a link or `Authorization`, not both. */
export function readStoredBlob(call: Call, parts: BlobParts, link: StorageLink | undefined): Reply {
  if (link === undefined) return replyError(403, "AuthenticationFailed", "the signature did not match");
  if (call.request.headers.authorization !== undefined) {
    return replyError(400, "InvalidAuthenticationInfo", "a signed link and an Authorization header at once");
  }
  if (call.method !== "GET" && call.method !== "HEAD") refuseMethod(call, "GET", "HEAD");
  return serveBlob(call, parts, link.repository, link.digest);
}
