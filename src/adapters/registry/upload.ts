// The parts of a blob upload: its location, its chunks, its end (OCI distribution-spec, "Pushing blobs").
import { fail, failByConnection, type Operation } from "./failure.ts";
import { isPrivate, resolveUrl } from "./hosts.ts";
import { type Attempt, retry, type RetryPolicy } from "./retry.ts";
import type { Session } from "./session.ts";
import type { TransportResponse } from "./transport.ts";

/** Content up to this size is held in memory and sent again after a failure; larger content goes in such chunks. */
export const CHUNK_BYTES: number = 4 * 1024 * 1024;

/** Refusals that mean "no chunks here": the same upload may still work in one request. */
const NO_CHUNKS: readonly number[] = [400, 404, 405, 415, 416, 501];

/** Where and as whom an upload runs. */
export interface UploadContext {
  readonly session: Session;
  readonly operation: Operation;
  readonly scopes: readonly string[];
  readonly base: URL;
  readonly policy: RetryPolicy;
}

/** One chunk: the bytes of the blob from `offset` on. */
export interface UploadChunk {
  readonly upload: URL;
  readonly chunk: Uint8Array;
  readonly offset: number;
}

/**
 * The upload's next address: absolute or relative, and with the registry's own scheme, as a registry behind a TLS
 * proxy often names itself with plain http.
 */
export function locationOf(operation: Operation, response: TransportResponse, base: URL): URL {
  const { location } = response.headers;
  const url = location === undefined ? undefined : resolveUrl(location, response.url);
  if (url === undefined) {
    throw fail("UNEXPECTED_RESPONSE", operation, {
      got: `Location ${location ?? "none"}`,
      want: "an upload's address",
    });
  }
  if (url.host === base.host) url.protocol = base.protocol;
  if (!isPrivate(url))
    throw fail("UNEXPECTED_RESPONSE", operation, { got: `Location at ${url.origin}`, want: "https" });
  return url;
}

/**
 * Sends one chunk and returns the upload's next address; undefined when the registry takes no chunks.
 *
 * After a failure that may pass, the registry is asked how much it holds and only the rest is sent again.
 */
export async function sendChunk(
  context: UploadContext,
  { upload, chunk, offset }: UploadChunk,
): Promise<URL | undefined> {
  const { session, operation, scopes, base, policy } = context;
  let address = upload;
  let sent = 0;
  let failedBefore = false;
  return retry(policy, async (): Promise<Attempt<URL | undefined>> => {
    try {
      if (failedBefore) {
        const status = await askStatus(context, address);
        address = status.address;
        sent = status.held - offset;
        if (sent < 0 || sent > chunk.length) {
          throw fail("UNEXPECTED_RESPONSE", operation, { got: `${status.held} bytes held`, want: `${offset} or more` });
        }
        if (sent === chunk.length) return { done: address };
      }
      const start = offset + sent;
      const body = chunk.subarray(sent);
      const response = await session.request({
        operation,
        method: "PATCH",
        path: address.href,
        scopes,
        headers: {
          "content-type": "application/octet-stream",
          "content-length": String(body.length),
          "content-range": `${start}-${start + body.length - 1}`,
        },
        body,
        expect: start === 0 ? [202, ...NO_CHUNKS] : [202],
        repeatable: false,
      });
      await response.discard();
      return { done: response.status === 202 ? locationOf(operation, response, base) : undefined };
    } catch (error) {
      failedBefore = true;
      return { failed: failByConnection(operation, error) };
    }
  });
}

/** Asks an upload how many bytes it holds (GET, 204 with `Range: 0-<last byte>`). */
async function askStatus(
  { session, operation, scopes, base }: UploadContext,
  upload: URL,
): Promise<{ address: URL; held: number }> {
  const response = await session.request({ operation, method: "GET", path: upload.href, scopes, expect: [204] });
  await response.discard();
  const last = /^(?:bytes=)?0-(\d+)$/.exec(response.headers["range"] ?? "")?.[1];
  const { location } = response.headers;
  return {
    address: location === undefined ? upload : locationOf(operation, response, base),
    // "0-0" is how registries say both "nothing" and "one byte"; chunks are never that small.
    held: last === undefined || last === "0" ? 0 : Number(last) + 1,
  };
}

/** Ends an upload that is not going to be completed; the registry would forget it by itself, later. */
export async function cancelUpload(
  session: Session,
  operation: Operation,
  scopes: readonly string[],
  upload: URL,
): Promise<void> {
  const expect = [200, 202, 204, 404];
  await session.request({ operation, method: "DELETE", path: upload.href, scopes, expect, repeatable: false }).then(
    (response) => response.discard(),
    () => {},
  );
}
