// Streams a blob, resumes it where a connection was cut, and checks it against its descriptor.
import { RegistryError } from "../../core/image/registry-error.ts";
import type { Descriptor } from "../../core/image/descriptor.ts";
import { type ContentCheck, createContentCheck } from "./content.ts";
import { fail, failByConnection, type Operation } from "./failure.ts";
import { type RepositoryNames, requireDigest } from "./names.ts";
import { pause, type RetryPolicy } from "./retry.ts";
import type { Session } from "./session.ts";
import type { TransportResponse } from "./transport.ts";

/** Media types of layers that a registry need not hold (OCI image-spec, layer.md; Docker's foreign layers). */
const FOREIGN = /\.nondistributable\.|\.rootfs\.foreign\./;
/** After this many more bytes the count of failures starts again: a large blob over a bad line is no error. */
const PROGRESS_BYTES = 1024 * 1024;

/**
 * Reads a blob as the port's `readBlob` says.
 *
 * A cut download goes on with a Range request from the next byte; where the storage ignores ranges, the bytes already
 * seen are skipped. After `attempts` cuts within one MiB it fails UNREACHABLE.
 */
export async function* readBlob(
  session: Session,
  names: RepositoryNames,
  policy: RetryPolicy,
  descriptor: Descriptor,
): AsyncGenerator<Uint8Array> {
  const operation = names.describe("read blob", descriptor.digest, "BLOB_UNKNOWN");
  requireDigest(operation, descriptor.digest);
  if (FOREIGN.test(descriptor.mediaType) || (descriptor.urls?.length ?? 0) > 0) {
    throw fail("UNSUPPORTED", operation, {
      got: `foreign layer ${descriptor.mediaType}`,
      want: "a blob of the registry",
    });
  }
  const check = createContentCheck(operation, descriptor);
  let failures = 0;
  let resumedAt = 0;
  for (;;) {
    const offset = check.received;
    const response = await session.request({
      operation,
      method: "GET",
      path: names.path(`blobs/${descriptor.digest}`),
      scopes: names.scopes("pull"),
      headers: { "accept-encoding": "identity", ...(offset > 0 ? { range: `bytes=${offset}-` } : {}) },
      expect: offset > 0 ? [200, 206] : [200],
    });
    try {
      await requireSameContent(operation, response, descriptor, offset);
      yield* readRest(response, check, response.status === 206 ? 0 : offset);
      check.finish();
      return;
    } catch (error) {
      if (error instanceof RegistryError) throw error;
      if (check.received - resumedAt >= PROGRESS_BYTES) failures = 0;
      resumedAt = check.received;
      if (++failures >= policy.attempts) {
        const { got } = failByConnection(operation, error);
        const progress = `after ${check.received} bytes`;
        throw fail("UNREACHABLE", operation, {
          got: got === undefined ? progress : `${got} ${progress}`,
          want: `${descriptor.size} bytes`,
          retryable: true,
          cause: error,
        });
      }
      await policy.sleep(pause(policy, failures));
    }
  }
}

/** Refuses early what can be seen from the headers; the connection is closed then. */
async function requireSameContent(
  operation: Operation,
  response: TransportResponse,
  { size }: Descriptor,
  offset: number,
): Promise<void> {
  const length = response.headers["content-length"];
  const skipped = response.status === 206 ? offset : 0;
  if (length !== undefined && Number(length) !== size - skipped) {
    await response.discard();
    throw fail("SIZE_MISMATCH", operation, { got: `${length} bytes`, want: `${size - skipped} bytes` });
  }
  const range = response.headers["content-range"];
  if (response.status === 206 && !range?.startsWith(`bytes ${offset}-`)) {
    await response.discard();
    throw fail("UNEXPECTED_RESPONSE", operation, { got: `range ${range ?? "none"}`, want: `bytes ${offset}-` });
  }
}

/** Yields the body from byte `skip` on; bytes before it were already yielded and hashed. */
async function* readRest(response: TransportResponse, check: ContentCheck, skip: number): AsyncGenerator<Uint8Array> {
  let toSkip = skip;
  for await (const chunk of response.readBody()) {
    const fresh = chunk.subarray(Math.min(toSkip, chunk.length));
    toSkip -= chunk.length - fresh.length;
    if (fresh.length === 0) continue;
    check.add(fresh);
    yield fresh;
  }
}
