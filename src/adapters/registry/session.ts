// One registry's conversation: authorization, retries and redirects around single HTTP exchanges.
import { RegistryError } from "../../core/image/registry-error.ts";
import type { Authorizer } from "./authorizer.ts";
import { fail, failByAnswer, failByConnection, type Operation } from "./failure.ts";
import { isPrivate, resolveUrl } from "./hosts.ts";
import { type Attempt, parseRetryAfter, retry, type RetryPolicy } from "./retry.ts";
import { readUpTo, type Transport, type TransportResponse } from "./transport.ts";

/** A request in the registry's terms; `path` is relative to the registry's base URL, or absolute. */
interface SessionRequest {
  readonly operation: Operation;
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly scopes: readonly string[];
  /** Statuses that are an answer; all others are errors. */
  readonly expect: readonly number[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | AsyncIterable<Uint8Array>;
  /** False for a request that may not be sent twice, e.g. a chunk of an upload. */
  readonly repeatable?: boolean;
}

/** Sends requests to one registry and returns its answer once that is an expected one. */
export interface Session {
  request(request: SessionRequest): Promise<TransportResponse>;
  /** The same with the body read, at most `limit` bytes; undefined when there are more. A cut body is a failed request. */
  requestBytes(
    request: SessionRequest,
    limit: number,
  ): Promise<{ readonly response: TransportResponse; readonly bytes: Buffer | undefined }>;
}

/** What a session is built from. */
export interface SessionOptions {
  readonly base: URL;
  readonly transport: Transport;
  readonly authorizer: Authorizer;
  readonly retry: RetryPolicy;
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const MAX_REDIRECTS = 5;
/** A registry may refuse a first request for lack of a token and a second one for lack of a scope. */
const MAX_CHALLENGES = 2;
const MAX_ERROR_BYTES = 64 * 1024;

/** Creates the session of one registry. */
export function createSession({ base, transport, authorizer, retry: policy }: SessionOptions): Session {
  const exchange = async (request: SessionRequest): Promise<TransportResponse> => {
    for (let challenges = 0; ; challenges++) {
      const { authorization } = await authorizer.authorize(request.scopes);
      const response = await follow(request, authorization);
      const { status, headers } = response;
      // A storage host's challenge is not the registry's: nobody else may say where our credentials go.
      const own = response.url.origin === base.origin;
      const again = own && status === 401 && challenges < MAX_CHALLENGES && !isStream(request.body);
      if (!again || !authorizer.learn(headers["www-authenticate"], request.scopes, authorization)) return response;
      await response.discard();
    }
  };

  const follow = async (request: SessionRequest, authorization: string | undefined): Promise<TransportResponse> => {
    let url = new URL(request.path, base);
    for (let redirects = 0; ; redirects++) {
      // The token is for the registry alone: a storage host must not see it, and often refuses requests that carry one.
      const own = url.origin === base.origin && authorization !== undefined;
      const headers = { ...request.headers, ...(own ? { authorization } : {}) };
      const response = await transport.send({ ...bodyOf(request), method: request.method, url, headers });
      const target = response.headers.location;
      const follows = REDIRECTS.has(response.status) && (request.method === "GET" || request.method === "HEAD");
      if (!follows || target === undefined) return response;
      await response.discard();
      const next = resolveUrl(target, url);
      if (redirects >= MAX_REDIRECTS || next === undefined) {
        throw fail("UNEXPECTED_RESPONSE", request.operation, { got: `redirect ${redirects + 1}`, want: "the content" });
      }
      if (isPrivate(url) && !isPrivate(next)) {
        throw fail("UNEXPECTED_RESPONSE", request.operation, { got: `redirect to ${next.origin}`, want: "https" });
      }
      url = next;
    }
  };

  const attempt = async <T>(
    request: SessionRequest,
    use: (response: TransportResponse) => Promise<T>,
  ): Promise<Attempt<T>> => {
    try {
      const response = await exchange(request);
      if (request.expect.includes(response.status)) return { done: await use(response) };
      const text = request.method === "HEAD" ? "" : ((await readUpTo(response, MAX_ERROR_BYTES))?.toString() ?? "");
      if (request.method === "HEAD") await response.discard();
      const afterMs = parseRetryAfter(response.headers["retry-after"], policy.now());
      return { failed: failByAnswer(request.operation, { status: response.status, text }), afterMs };
    } catch (error) {
      return { failed: error instanceof RegistryError ? error : failByConnection(request.operation, error) };
    }
  };

  const repeat = <T>(request: SessionRequest, use: (response: TransportResponse) => Promise<T>): Promise<T> => {
    const repeatable = request.repeatable !== false && !isStream(request.body);
    return retry(repeatable ? policy : { ...policy, attempts: 1 }, () => attempt(request, use));
  };

  return {
    request: (request) => repeat(request, async (response) => response),
    requestBytes: (request, limit) =>
      repeat(request, async (response) => ({ response, bytes: await readUpTo(response, limit) })),
  };
}

function isStream(body: SessionRequest["body"]): boolean {
  return body !== undefined && !(body instanceof Uint8Array);
}

function bodyOf({ body }: SessionRequest): { body?: Uint8Array | AsyncIterable<Uint8Array> } {
  return body === undefined ? {} : { body };
}
