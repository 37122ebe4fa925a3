// The host's own endpoints under `/admin`: status, functions, manual runs, warnings. All need the master key.
import { HOST_VERSION } from "../core-api.ts";
import type { RpcTypedData } from "../core-api.ts";
import type { LoadedFunction } from "../functions.ts";
import { readBody, sendJson, sendStatus, sendTooLarge, splitPath } from "./exchange.ts";
import type { HttpExchange, HttpHandler } from "./exchange.ts";
import { isAuthorized } from "../keys.ts";
import type { HostKeys } from "../keys.ts";
import type { Warnings } from "../warnings.ts";

const MAX_INPUT_BYTES = 1_048_576;

/** What the endpoints show and do. */
export interface AdminOptions {
  readonly keys: HostKeys;
  readonly warnings: Warnings;
  readonly functions: readonly LoadedFunction[];
  readonly startedAt: number;
  /** Runs a function by hand in the background. */
  run(fn: LoadedFunction, trigger: RpcTypedData): void;
  /** The trigger value of a manual run. */
  manualInput(fn: LoadedFunction, input: string | undefined): RpcTypedData;
}

/** Creates the handler of every path under `/admin/`. */
export function createAdmin(options: AdminOptions): HttpHandler {
  const { keys, warnings, functions, startedAt } = options;

  async function runByHand(exchange: HttpExchange, fn: LoadedFunction): Promise<void> {
    const body = await readBody(exchange.request, MAX_INPUT_BYTES);
    if (body === undefined) return sendTooLarge(exchange);
    let input: unknown;
    try {
      input = body.length === 0 ? {} : JSON.parse(body.toString());
    } catch {
      return sendStatus(exchange, 400);
    }
    const { input: text } = input as { input?: unknown };
    options.run(fn, options.manualInput(fn, typeof text === "string" ? text : undefined));
    sendStatus(exchange, 202);
  }

  return async (exchange) => {
    const { request, url } = exchange;
    if (!isAuthorized(keys, request, url, { level: "admin" })) return sendStatus(exchange, 401);
    const [, area, name] = splitPath(url.pathname) ?? [];
    const isRead = request.method === "GET";
    if (area === "host" && name === "status" && isRead) {
      const processUptime = Math.round(performance.now() - startedAt);
      return sendJson(exchange, 200, {
        id: "lighter-functions-host",
        state: "Running",
        version: HOST_VERSION,
        processUptime,
      });
    }
    if (area === "host" && name === "ping") return sendStatus(exchange, 200);
    if (area === "host" && name === "warnings" && isRead) return sendJson(exchange, 200, warnings.list());
    if (area !== "functions") return sendStatus(exchange, 404);
    if (name === undefined || name === "") return sendJson(exchange, 200, functions.map(describeFunction));
    const fn = functions.find((candidate) => candidate.name.toLowerCase() === name.toLowerCase());
    if (fn === undefined) return sendStatus(exchange, 404);
    if (isRead) return sendJson(exchange, 200, describeFunction(fn));
    return request.method === "POST" ? runByHand(exchange, fn) : sendStatus(exchange, 405);
  };
}

function describeFunction({ name, metadata }: LoadedFunction): unknown {
  const bindings = Object.entries(metadata.bindings).map(([key, binding]) => ({ ...binding, name: key }));
  return { name, language: "node", isDisabled: false, isDirect: true, config: { bindings } };
}
