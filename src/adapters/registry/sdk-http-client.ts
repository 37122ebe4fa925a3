// Carries the Azure SDK's requests over our own transport, and smooths what the SDK trips over.
import { Readable } from "node:stream";
import type { HttpClient, PipelineRequest, PipelineResponse } from "@azure/core-rest-pipeline";
import { fail, failByAnswer, failByConnection, type Operation, TRANSIENT_STATUSES } from "./failure.ts";
import { resolveUrl } from "./hosts.ts";
import { manifestTooLarge, MAX_MANIFEST_BYTES } from "./manifests.ts";
import { parseRetryAfter, retry, type RetryPolicy } from "./retry.ts";
import { readUpTo, type Transport } from "./transport.ts";

/** The answer's body, whatever it is for: manifests, tokens, errors. The SDK reads no blobs here. */
const MAX_ANSWER_BYTES = MAX_MANIFEST_BYTES;

/**
 * Creates the `httpClient` option of `@azure/container-registry`.
 *
 * The SDK insists on https addresses, which are rewritten to those of `base`; it takes absolute Locations for paths,
 * so they are made relative; it would buffer a manifest of any size, so answers are capped; and its own retries, which
 * would repeat a chunk that may have arrived, are replaced by ours. `operationOf` names a request for errors.
 */
export function createSdkHttpClient(options: {
  readonly base: URL;
  readonly transport: Transport;
  readonly retry: RetryPolicy;
  readonly createHeaders: (raw: Record<string, string>) => PipelineResponse["headers"];
  readonly operationOf: (request: PipelineRequest) => Operation;
}): HttpClient {
  const { base, transport, retry: policy, createHeaders, operationOf } = options;
  return {
    async sendRequest(request) {
      const operation = operationOf(request);
      const url = new URL(request.url);
      if (url.host === base.host) url.protocol = base.protocol;
      const headers = request.headers.toJSON();
      const body = toBytes(request.body);
      const isTokenCall = url.pathname.startsWith("/oauth2/");
      const repeatable = request.method === "GET" || isTokenCall || url.pathname.includes("/manifests/");
      return retry(repeatable ? policy : { ...policy, attempts: 1 }, async () => {
        try {
          const exchange = { method: request.method, url, headers, ...(body === undefined ? {} : { body }) };
          const response = await transport.send(exchange);
          const bytes = await readUpTo(response, MAX_ANSWER_BYTES);
          if (bytes === undefined) throw manifestTooLarge(operation);
          const { status } = response;
          if (TRANSIENT_STATUSES.has(status)) {
            const afterMs = parseRetryAfter(response.headers["retry-after"], policy.now());
            return { failed: failByAnswer(operation, { status, text: isTokenCall ? "" : bytes.toString() }), afterMs };
          }
          // The SDK would put the answer's text into its error, which may repeat a token.
          if (isTokenCall && status >= 400) {
            return { failed: fail("UNAUTHORIZED", operation, { got: `status ${status} of the token server` }) };
          }
          const raw: Record<string, string> = {};
          for (const [name, value] of Object.entries(response.headers)) raw[name] = String(value);
          if (raw["location"] !== undefined) raw["location"] = toRelative(raw["location"], url);
          const streams = request.streamResponseStatusCodes;
          const streamed = streams?.has(status) === true || streams?.has(Number.POSITIVE_INFINITY) === true;
          return {
            done: {
              request,
              status,
              headers: createHeaders(raw),
              ...(streamed ? { readableStreamBody: Readable.from(bytes) } : { bodyAsText: bytes.toString() }),
            } satisfies PipelineResponse,
          };
        } catch (error) {
          return { failed: failByConnection(operation, error) };
        }
      });
    },
  };
}

function toBytes(body: PipelineRequest["body"]): Uint8Array | undefined {
  if (body === undefined || body === null) return undefined;
  if (typeof body === "string") return Buffer.from(body);
  if (body instanceof Uint8Array) return body;
  throw new TypeError("the registry SDK sent a body that is neither text nor bytes");
}

function toRelative(location: string, url: URL): string {
  const target = resolveUrl(location, url);
  return target === undefined ? location : target.pathname + target.search;
}
