// HTTP triggers: routes, keys, bodies and the service's limits.
import { randomUUID } from "node:crypto";
import { messageOf, FunctionsHostError } from "../errors.ts";
import type { LoadedFunction } from "../functions.ts";
import { clearHeaders, readBody, sendStatus, sendTooLarge, splitPath } from "../http/exchange.ts";
import type { HttpExchange } from "../http/exchange.ts";
import { parseRouteTemplate } from "../http/route-template.ts";
import type { RouteTemplate } from "../http/route-template.ts";
import { sendRpcResponse, toRpcRequest } from "../http/rpc-http.ts";
import { proxyExchange, streamMetadata } from "../http/stream-proxy.ts";
import { isAuthorized } from "../keys.ts";
import type { Requirement } from "../keys.ts";
import type { RunningTrigger, TriggerHost, TriggerKind } from "./trigger.ts";

/** The service's limit on request bodies, overridden by the setting FUNCTIONS_REQUEST_BODY_SIZE_LIMIT. */
const MAX_BODY_BYTES = 104_857_600;

/** How HTTP functions are served. */
export interface HttpTriggerOptions {
  /** After how many ms of wall time a response is cut; the service's load balancer takes 230 s. */
  readonly timeoutMs: number;
}

interface Endpoint {
  readonly fn: LoadedFunction;
  readonly methods: ReadonlySet<string>;
  readonly template: RouteTemplate;
  readonly requirement: Requirement;
}

/** Creates the trigger kind. */
export function createHttpTrigger({ timeoutMs }: HttpTriggerOptions): TriggerKind {
  return { types: ["httptrigger"], prepare: (host) => prepareHttp(host, timeoutMs) };
}

function prepareHttp(host: TriggerHost, timeoutMs: number): RunningTrigger {
  const { hostJson, settings, keys, log, warnings, capabilities } = host;
  const prefix = hostJson.extensions.http.routePrefix.replace(/^\/+|\/+$/g, "");
  const maxBytes = Number(settings["FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"] ?? MAX_BODY_BYTES);
  const endpoints = host.functions
    .map((fn) => describeEndpoint(fn, prefix))
    .sort((a, b) => a.template.precedence - b.template.precedence);
  const streamUri = capabilities["HttpUri"];

  /** Undefined when the body is too large and was refused. */
  async function receiveBody(fn: LoadedFunction, exchange: HttpExchange): Promise<Uint8Array | undefined> {
    const { request } = exchange;
    if (request.headers["content-length"] === undefined) {
      if (request.headers["transfer-encoding"] !== undefined) {
        warnings.add("BODY_WITHOUT_LENGTH", fn.name, "the host drops request bodies that come without Content-Length");
      }
      request.resume();
      return new Uint8Array();
    }
    const body = await readBody(request, maxBytes);
    if (body === undefined) sendTooLarge(exchange);
    return body;
  }

  async function serve({ fn }: Endpoint, params: Record<string, string>, exchange: HttpExchange): Promise<void> {
    const { request, response, url } = exchange;
    const invocationId = randomUUID();
    const cut = setTimeout(() => {
      log({
        level: "error",
        category: "host",
        message: `no response within ${timeoutMs} ms`,
        functionName: fn.name,
        invocationId,
      });
      if (response.headersSent) response.destroy();
      else sendStatus(exchange, 504);
    }, timeoutMs);
    const gone = new AbortController();
    response.once("close", () => clearTimeout(cut));
    try {
      if (streamUri !== undefined) {
        const invoked = host.invoke({
          fn,
          invocationId,
          trigger: { http: {} },
          triggerMetadata: streamMetadata(request, params),
        });
        await Promise.all([invoked, proxyExchange(exchange, streamUri, invocationId, gone.signal)]);
        return;
      }
      const body = await receiveBody(fn, exchange);
      if (body === undefined) return;
      const invoked = await host.invoke({ fn, invocationId, trigger: toRpcRequest(request, url, params, body) });
      if (!response.writableEnded) sendRpcResponse(exchange, invoked.response.returnValue);
    } catch (error) {
      gone.abort();
      log({ level: "error", category: "host", message: messageOf(error), functionName: fn.name, invocationId });
      if (response.writableEnded) return;
      if (response.headersSent) return void response.destroy();
      clearHeaders(exchange);
      sendStatus(exchange, 500);
    }
  }

  return {
    async route(exchange) {
      const { request, url } = exchange;
      const segments = splitPath(url.pathname);
      if (segments === undefined) return false;
      for (const endpoint of endpoints) {
        if (!endpoint.methods.has(request.method ?? "")) continue;
        const params = endpoint.template.match(segments);
        if (params === undefined) continue;
        if (isAuthorized(keys, request, url, endpoint.requirement)) await serve(endpoint, params, exchange);
        else sendStatus(exchange, 401);
        return true;
      }
      return false;
    },
  };
}

function describeEndpoint(fn: LoadedFunction, prefix: string): Endpoint {
  const { route, methods, authLevel } = fn.trigger as { route?: string; methods?: string[]; authLevel?: string };
  const text = [prefix, route ?? fn.name].filter((part) => part !== "").join("/");
  if (/^(admin|runtime)(\/|$)/i.test(text)) {
    throw new FunctionsHostError("BAD_ROUTE", {
      operation: "load function",
      subject: fn.name,
      got: text,
      want: "a route of its own",
    });
  }
  const level = authLevel?.toLowerCase() ?? "anonymous";
  return {
    fn,
    methods: new Set((methods ?? ["GET", "POST"]).map((method) => method.toUpperCase())),
    template: parseRouteTemplate(text),
    requirement:
      level === "function" ? { level, functionName: fn.name } : { level: level === "admin" ? "admin" : "anonymous" },
  };
}
