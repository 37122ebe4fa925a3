// Turns HTTP requests into the RPC data that functions receive, and their RPC responses into HTTP.
import type { IncomingMessage } from "node:http";
import type { RpcTypedData } from "../core-api.ts";
import type { HttpExchange } from "./exchange.ts";
import { sendStatus } from "./exchange.ts";

/** Connection-level headers that end at each hop. */
export const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

type Nullable = Record<string, { value: string }>;

/** A function's HTTP response. */
interface RpcHttpResponse {
  readonly statusCode?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly cookies?: readonly RpcCookie[];
  readonly body?: RpcTypedData | null;
}

interface RpcCookie {
  readonly name: string;
  readonly value: string;
  readonly domain?: { readonly value: string };
  readonly path?: { readonly value: string };
  readonly expires?: { readonly value: { readonly seconds: number } };
  readonly secure?: { readonly value: boolean };
  readonly httpOnly?: { readonly value: boolean };
  readonly sameSite?: "none" | "lax" | "strict" | "explicitNone";
  readonly maxAge?: { readonly value: number };
}

/** Builds the RPC request: header names in lower case, repeated query values joined by commas, as the host does. */
export function toRpcRequest(
  request: IncomingMessage,
  url: URL,
  params: Readonly<Record<string, string>>,
  body: Uint8Array | undefined,
): RpcTypedData {
  return {
    http: {
      method: request.method ?? "GET",
      url: url.href,
      nullableHeaders: toNullable(listHeaders(request)),
      nullableQuery: toNullable(joinQuery(url)),
      nullableParams: toNullable(Object.entries(params)),
      ...(body !== undefined && body.length > 0 && { body: { bytes: body } }),
    },
  };
}

/** The request's headers with repeated ones joined. */
export function listHeaders(request: IncomingMessage): [string, string][] {
  return Object.entries(request.headers).map(([name, value]) => [
    name,
    Array.isArray(value) ? value.join(", ") : (value ?? ""),
  ]);
}

function joinQuery(url: URL): [string, string][] {
  const joined = new Map<string, string>();
  for (const [name, value] of url.searchParams) {
    const before = joined.get(name);
    joined.set(name, before === undefined ? value : `${before},${value}`);
  }
  return [...joined];
}

function toNullable(entries: readonly [string, string][]): Nullable {
  return Object.fromEntries(entries.map(([name, value]) => [name, { value }]));
}

/** Sends what a function returned; nothing at all is 204. */
export function sendRpcResponse(exchange: HttpExchange, returned: RpcTypedData | null | undefined): void {
  const http = returned?.http as RpcHttpResponse | undefined;
  if (http === undefined) return sendStatus(exchange, 204);
  const { response, request } = exchange;
  response.statusCode = Number(http.statusCode ?? 200);
  for (const [name, value] of Object.entries(http.headers ?? {})) {
    if (!HOP_BY_HOP.has(name.toLowerCase())) response.setHeader(name, value);
  }
  for (const cookie of http.cookies ?? []) response.appendHeader("set-cookie", serializeCookie(cookie));
  const body = Buffer.from(http.body?.bytes ?? http.body?.string ?? "");
  const hasBody = response.statusCode !== 204 && response.statusCode !== 304;
  if (hasBody && !response.hasHeader("content-length")) response.setHeader("content-length", body.length);
  response.end(request.method === "HEAD" || !hasBody ? undefined : body);
}

function serializeCookie({ name, value, ...options }: RpcCookie): string {
  const parts = [`${encodeURIComponent(name)}=${encodeURIComponent(value)}`];
  if (options.expires !== undefined)
    parts.push(`expires=${new Date(options.expires.value.seconds * 1_000).toUTCString()}`);
  if (options.maxAge !== undefined) parts.push(`max-age=${Math.trunc(options.maxAge.value)}`);
  if (options.domain !== undefined) parts.push(`domain=${options.domain.value}`);
  parts.push(`path=${options.path?.value ?? "/"}`);
  if (options.secure?.value === true) parts.push("secure");
  const sameSite = { none: undefined, lax: "lax", strict: "strict", explicitNone: "none" }[options.sameSite ?? "none"];
  if (sameSite !== undefined) parts.push(`samesite=${sameSite}`);
  if (options.httpOnly?.value === true) parts.push("httponly");
  return parts.join("; ");
}
