// One HTTP request and its response, and the small things every handler does with them.
import type { IncomingMessage, ServerResponse } from "node:http";

/** A request being answered. */
export interface HttpExchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
}

/** Answers an exchange. */
export type HttpHandler = (exchange: HttpExchange) => Promise<void> | void;

/** Ends with a status and no body. */
export function sendStatus({ response }: HttpExchange, status: number): void {
  response.writeHead(status, { "content-length": "0" }).end();
}

/** Ends with a JSON body. */
export function sendJson(
  { response }: HttpExchange,
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  const body = Buffer.from(JSON.stringify(value) ?? "null");
  response.writeHead(status, {
    "content-type": "application/json; charset=utf-8",
    "content-length": body.length,
    ...headers,
  });
  response.end(body);
}

/** The decoded segments of a path without its outer slashes; undefined for a malformed escape. */
export function splitPath(path: string): string[] | undefined {
  try {
    return path
      .replace(/^\/|\/$/g, "")
      .split("/")
      .map(decodeURIComponent);
  } catch {
    return undefined;
  }
}

/** Takes back headers that were set, so that an error does not carry a success's. */
export function clearHeaders({ response }: HttpExchange): void {
  for (const name of response.getHeaderNames()) response.removeHeader(name);
}

/** Reads a body of at most `limit` bytes; undefined if it is larger, with the rest left unread. */
export async function readBody(request: IncomingMessage, limit: number): Promise<Buffer | undefined> {
  if (Number(request.headers["content-length"] ?? 0) > limit) return undefined;
  const chunks: Buffer[] = [];
  let size = 0;
  // Ending the loop early must not destroy the connection that the refusal goes out on.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Refuses a body that is too large and drops the connection behind it. */
export function sendTooLarge(exchange: HttpExchange): void {
  exchange.response.setHeader("connection", "close");
  sendStatus(exchange, 413);
  exchange.request.resume();
}
