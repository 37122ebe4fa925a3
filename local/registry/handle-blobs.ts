// Blobs and their uploads (OCI distribution-spec 1.1, "Pulling blobs", "Pushing blobs", "Deleting blobs").
import type { Auth } from "./auth.ts";
import type { BlobStore } from "./blob-store.ts";
import { type Call, refuseMethod } from "./call.ts";
import type { Notify } from "./events.ts";
import { checkDigest, isDigest } from "./names.ts";
import { refuse } from "./refusal.ts";
import type { FileSlice, Reply } from "./reply.ts";
import type { Uploads } from "./uploads.ts";

/** What blob handlers work on. */
export interface BlobParts {
  readonly blobs: BlobStore;
  readonly uploads: Uploads;
  readonly auth: Auth;
  readonly notify: Notify;
}

const BLOB_TYPE = "application/octet-stream";

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

/** `GET|HEAD|DELETE /v2/<name>/blobs/<digest>`, with single byte ranges (RFC 9110, 14). */
export function handleBlob(call: Call, parts: BlobParts, name: string, digest: string): Reply {
  const { method, request } = call;
  if (method === "DELETE") {
    if (!parts.blobs.unlink(name, digest))
      refuse("BLOB_UNKNOWN", { operation: "delete blob", subject: `${name}@${digest}` });
    return { status: 202, headers: { "Docker-Content-Digest": digest } };
  }
  if (method !== "GET" && method !== "HEAD") refuseMethod(call, "GET", "HEAD", "DELETE");
  const found = parts.blobs.find(name, digest);
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

function uploadHeaders(name: string, id: string, size: number): Record<string, string> {
  return {
    Location: `/v2/${name}/blobs/uploads/${id}`,
    Range: `0-${Math.max(0, size - 1)}`,
    "Docker-Upload-UUID": id,
  };
}

function created(name: string, digest: string): Reply {
  return {
    status: 201,
    headers: { Location: `/v2/${name}/blobs/${digest}`, "Docker-Content-Digest": digest },
  };
}

async function finish(call: Call, parts: BlobParts, name: string, id: string, digest: string): Promise<Reply> {
  await parts.uploads.finish(name, id, digest);
  const size = parts.blobs.find(name, digest)?.size ?? 0;
  parts.notify(call, { action: "push", mediaType: BLOB_TYPE, size, digest, repository: name });
  return created(name, digest);
}

/** `POST /v2/<name>/blobs/uploads/`: starts an upload, mounts (`mount`, `from`), or takes the whole blob (`digest`). */
export async function startUpload(call: Call, parts: BlobParts, name: string): Promise<Reply> {
  if (call.method !== "POST") refuseMethod(call, "POST");
  const mount = call.query.get("mount");
  const from = call.query.get("from");
  if (mount !== null && from !== null && isDigest(mount)) {
    const mayRead = parts.auth.permits(call.who, { type: "repository", name: from, actions: ["pull"] });
    if (mayRead && parts.blobs.mount(name, mount, from)) return created(name, mount);
  }
  const wanted = call.query.get("digest");
  const digest = wanted === null ? undefined : checkDigest(wanted);
  const id = parts.uploads.start(name);
  if (digest === undefined) return { status: 202, headers: uploadHeaders(name, id, 0) };
  await parts.uploads.append(name, id, call.request);
  return await finish(call, parts, name, id, digest);
}

/** Checks a chunk's `Content-Range: <start>-<end>` against what has arrived and what the chunk says of its length. */
function checkChunk(call: Call, name: string, id: string, size: number): void {
  const header = call.request.headers["content-range"];
  if (header === undefined) return;
  const subject = `${name} ${id}`;
  const match = /^(?:bytes[ =])?(\d+)-(\d+)(?:\/(?:\d+|\*))?$/.exec(header);
  if (match === null) {
    return refuse("BLOB_UPLOAD_INVALID", { operation: "append to upload", subject, got: `Content-Range ${header}` });
  }
  const [start, end] = [Number(match[1]), Number(match[2])];
  if (start !== size) {
    refuse("RANGE_INVALID", {
      operation: "append to upload",
      subject,
      got: `Content-Range ${header}`,
      want: `start ${size}`,
      headers: uploadHeaders(name, id, size),
    });
  }
  const length = call.request.headers["content-length"];
  if (length !== undefined && Number(length) !== end - start + 1) {
    refuse("SIZE_INVALID", {
      operation: "append to upload",
      subject,
      got: `Content-Range ${header}`,
      want: `${length} bytes as in Content-Length`,
    });
  }
}

/** `GET|PATCH|PUT|DELETE /v2/<name>/blobs/uploads/<id>`: status, next chunk, end (with an optional last chunk), cancel. */
export async function continueUpload(call: Call, parts: BlobParts, name: string, id: string): Promise<Reply> {
  const { uploads } = parts;
  const size = uploads.sizeOf(name, id);
  switch (call.method) {
    case "GET":
      return { status: 204, headers: uploadHeaders(name, id, size) };
    case "DELETE":
      uploads.cancel(name, id);
      return { status: 204 };
    case "PATCH":
      checkChunk(call, name, id, size);
      return { status: 202, headers: uploadHeaders(name, id, await uploads.append(name, id, call.request)) };
    case "PUT": {
      const digest = checkDigest(call.query.get("digest") ?? "");
      checkChunk(call, name, id, size);
      await uploads.append(name, id, call.request);
      return await finish(call, parts, name, id, digest);
    }
    default:
      return refuseMethod(call, "GET", "PATCH", "PUT", "DELETE");
  }
}
