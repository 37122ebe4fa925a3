// Uploads a blob: in one request when it fits in memory, else in chunks that can be resumed.
import type { Descriptor } from "../../core/image/descriptor.ts";
import { createCheckedSource, createContentCheck } from "./content.ts";
import { fail, failByConnection, type Operation } from "./failure.ts";
import { type RepositoryNames, requireDigest } from "./names.ts";
import { type Attempt, retry, type RetryPolicy } from "./retry.ts";
import type { Session } from "./session.ts";
import { cancelUpload, CHUNK_BYTES, locationOf, sendChunk } from "./upload.ts";

/** Whether the repository already holds a blob. */
export async function hasBlob(session: Session, names: RepositoryNames, descriptor: Descriptor): Promise<boolean> {
  const operation = names.describe("look for blob", descriptor.digest, "BLOB_UNKNOWN");
  requireDigest(operation, descriptor.digest);
  const response = await session.request({
    operation,
    method: "HEAD",
    path: names.path(`blobs/${descriptor.digest}`),
    scopes: names.scopes("pull,push"),
    expect: [200, 404],
  });
  await response.discard();
  return response.status === 200;
}

/** Uploads a blob that the repository does not hold (OCI distribution-spec, "Pushing blobs"). */
export async function uploadBlob(
  session: Session,
  names: RepositoryNames,
  base: URL,
  policy: RetryPolicy,
  descriptor: Descriptor,
  content: Uint8Array | AsyncIterable<Uint8Array>,
): Promise<void> {
  const operation = names.describe("write blob", descriptor.digest, "NAME_UNKNOWN");
  requireDigest(operation, descriptor.digest);
  const fits = content instanceof Uint8Array || descriptor.size <= CHUNK_BYTES;
  const bytes = fits ? await gather(operation, descriptor, content) : undefined;
  const scopes = names.scopes("pull,push");

  const start = async (): Promise<URL> => {
    const path = names.path("blobs/uploads/");
    const response = await session.request({ operation, method: "POST", path, scopes, expect: [202] });
    await response.discard();
    return locationOf(operation, response, base);
  };
  const complete = async (upload: URL, body: Uint8Array | AsyncIterable<Uint8Array>): Promise<void> => {
    const url = new URL(upload);
    url.searchParams.set("digest", descriptor.digest);
    const length = body instanceof Uint8Array ? body.length : descriptor.size;
    const response = await session.request({
      operation,
      method: "PUT",
      path: url.href,
      scopes,
      headers: { "content-type": "application/octet-stream", "content-length": String(length) },
      body,
      expect: [201, 204],
      repeatable: false,
    });
    await response.discard();
    const stored = response.headers["docker-content-digest"];
    if (stored !== undefined && stored !== descriptor.digest) {
      throw fail("DIGEST_MISMATCH", operation, { got: `${String(stored)} stored`, want: descriptor.digest });
    }
  };
  const cancel = (upload: URL): Promise<void> => cancelUpload(session, operation, scopes, upload);

  if (bytes !== undefined) {
    let failedBefore = false;
    await retry(policy, async (): Promise<Attempt<void>> => {
      let upload: URL | undefined;
      try {
        // The registry may have stored the blob although its answer was lost.
        if (failedBefore && (await hasBlob(session, names, descriptor))) return { done: undefined };
        upload = await start();
        return { done: await complete(upload, bytes) };
      } catch (error) {
        failedBefore = true;
        if (upload !== undefined) await cancel(upload);
        return { failed: failByConnection(operation, error) };
      }
    });
    return;
  }

  const source = createCheckedSource(operation, descriptor, content as AsyncIterable<Uint8Array>);
  let upload = await start();
  try {
    const chunks = inChunks(source.stream);
    let offset = 0;
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
      const chunk = next.value;
      const location = await sendChunk({ session, operation, scopes, base, policy }, { upload, chunk, offset });
      if (location === undefined) return await complete(upload, prepend(chunk, chunks));
      upload = location;
      offset += chunk.length;
    }
    await complete(upload, new Uint8Array());
  } catch (error) {
    await cancel(upload);
    source.rethrow();
    if (await hasBlob(session, names, descriptor).catch(() => false)) return;
    throw failByConnection(operation, error);
  }
}

/** The content as verified bytes. */
export async function gather(
  operation: Operation,
  descriptor: Descriptor,
  content: Uint8Array | AsyncIterable<Uint8Array>,
): Promise<Uint8Array> {
  if (content instanceof Uint8Array) {
    const check = createContentCheck(operation, descriptor);
    check.add(content);
    check.finish();
    return content;
  }
  const parts: Uint8Array[] = [];
  for await (const part of createCheckedSource(operation, descriptor, content).stream) parts.push(part);
  return Buffer.concat(parts);
}

/** Regroups content into chunks of CHUNK_BYTES; the last one may be smaller. */
async function* inChunks(content: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of content) {
    let rest = part;
    while (size + rest.length >= CHUNK_BYTES) {
      const fitting = rest.subarray(0, CHUNK_BYTES - size);
      yield Buffer.concat([...parts, fitting]);
      rest = rest.subarray(fitting.length);
      parts = [];
      size = 0;
    }
    if (rest.length > 0) parts.push(rest);
    size += rest.length;
  }
  if (size > 0) yield Buffer.concat(parts);
}

async function* prepend(first: Uint8Array, rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield first;
  yield* rest;
}
