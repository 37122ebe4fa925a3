// Uploading blobs, whole, in chunks or by mounting (OCI distribution-spec 1.1, "Pushing blobs").
import type { Auth } from "./auth.ts";
import type { BlobStore } from "./blob-store.ts";
import { type Call, refuseMethod } from "./call.ts";
import type { Notify } from "./events.ts";
import { BLOB_TYPE } from "./handle-blobs.ts";
import { checkDigest, isDigest } from "./names.ts";
import { refuse } from "./refusal.ts";
import type { Reply } from "./reply.ts";
import type { Uploads } from "./uploads.ts";

/** What upload handlers work on. */
export interface UploadParts {
  readonly blobs: BlobStore;
  readonly uploads: Uploads;
  readonly auth: Auth;
  readonly notify: Notify;
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

async function finish(call: Call, parts: UploadParts, name: string, id: string, digest: string): Promise<Reply> {
  await parts.uploads.finish(name, id, digest);
  const size = parts.blobs.find(name, digest)?.size ?? 0;
  parts.notify(call, { action: "push", mediaType: BLOB_TYPE, size, digest, repository: name });
  return created(name, digest);
}

/** `POST /v2/<name>/blobs/uploads/`: starts an upload, mounts (`mount`, `from`), or takes the whole blob (`digest`). */
export async function startUpload(call: Call, parts: UploadParts, name: string): Promise<Reply> {
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
  try {
    await parts.uploads.append(name, id, call.request);
  } catch (error) {
    parts.uploads.cancel(name, id);
    throw error;
  }
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
export async function continueUpload(call: Call, parts: UploadParts, name: string, id: string): Promise<Reply> {
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
