// HTTP streaming: with `app.setup({ enableHttpStream: true })` bodies flow through the library's own HTTP server.
import { request as httpRequest } from "node:http";
import type { IncomingMessage } from "node:http";
import { pipeline } from "node:stream/promises";
import type { RpcTypedData } from "../core-api.ts";
import type { HttpExchange } from "./exchange.ts";
import { HOP_BY_HOP, listHeaders } from "./rpc-http.ts";

/** The trigger metadata from which the library takes headers and parameters when streaming. */
export function streamMetadata(
  request: IncomingMessage,
  params: Readonly<Record<string, string>>,
): Record<string, RpcTypedData> {
  const strings = Object.entries(params).map(([name, value]) => [name, { string: value }] as const);
  return {
    ...Object.fromEntries(strings),
    Headers: { json: JSON.stringify(Object.fromEntries(listHeaders(request))) },
  };
}

/** Passes a request to the library's server at `uri`, where the invocation picks it up by its id, and its answer back. */
export async function proxyExchange(
  { request, response, url }: HttpExchange,
  uri: string,
  invocationId: string,
  signal: AbortSignal,
): Promise<void> {
  const headers = Object.fromEntries(listHeaders(request).filter(([name]) => !HOP_BY_HOP.has(name)));
  const outgoing = httpRequest(new URL(`${url.pathname}${url.search}`, uri), {
    method: request.method,
    signal,
    headers: {
      ...headers,
      "x-ms-invocation-id": invocationId,
      "x-forwarded-host": url.host,
      "x-forwarded-proto": url.protocol.slice(0, -1),
    },
  });
  const answered = new Promise<IncomingMessage>((resolve, reject) =>
    outgoing.once("response", resolve).once("error", reject),
  );
  const [answer] = await Promise.all([answered, pipeline(request, outgoing)]);
  const received = Object.entries(answer.headers).filter(
    ([name]) => !HOP_BY_HOP.has(name) && name !== "x-ms-invocation-id",
  );
  response.writeHead(answer.statusCode ?? 200, Object.fromEntries(received));
  await pipeline(answer, response);
}
