// Durable's HTTP API: orchestrators, instances and entities, as the client library calls it.
import { randomUUID } from "node:crypto";
import { readBody, sendJson, sendStatus, sendTooLarge, splitPath } from "../http/exchange.ts";
import type { HttpExchange, HttpHandler } from "../http/exchange.ts";
import type { Engine } from "./engine.ts";
import { formatEntityId } from "./entities.ts";
import type { OperationResult } from "./instances.ts";
import { managementLinks } from "./links.ts";
import type { LinkOptions } from "./links.ts";
import { describeStatus } from "./status.ts";
import { isTerminal } from "./store.ts";
import type { InstanceFilter } from "./store.ts";

/** Bodies beyond this are refused. */
const MAX_BODY_BYTES = 104_857_600;
const DEFAULT_PAGE = 100;
const STATUS_OF: Readonly<Record<OperationResult, number>> = { done: 202, gone: 410, missing: 404 };

/** What the API needs; `links` is called per request because the address may come from settings. */
export interface ManagementApiOptions {
  readonly engine: Engine;
  links(): LinkOptions;
}

/** Creates the handler; `path` is what follows the API's base, without a leading slash. */
export function createManagementApi({ engine, links }: ManagementApiOptions): (path: string) => HttpHandler {
  const { store, instances } = engine;

  return (path) => async (exchange) => {
    const { request, url } = exchange;
    const method = request.method ?? "";
    const [collection, ...rest] = splitPath(path) ?? [];
    const [first, second, third] = rest;
    const fail = (status: number, text: string): void => sendJson(exchange, status, { Message: text });

    if (collection === "orchestrators" && method === "POST" && first !== undefined)
      return start(exchange, first, second);
    if (collection === "entities" && first !== undefined && second !== undefined) {
      const key = rest.slice(1).join("/");
      if (method === "GET") return readEntity(exchange, first, key);
      if (method === "POST") return signalEntity(exchange, first, key);
    }
    if (collection !== "instances") return sendStatus(exchange, 404);
    if (first === undefined || first === "") {
      if (method === "GET") return listStatuses(exchange);
      if (method === "DELETE") return sendPurged(exchange, instances.purgeBy(readFilter(url)));
      return sendStatus(exchange, 405);
    }
    if (second === undefined && method === "GET") return showStatus(exchange, first);
    if (second === undefined && method === "DELETE") {
      return instances.purge(first) ? sendPurged(exchange, 1) : sendStatus(exchange, 404);
    }
    if (method !== "POST") return sendStatus(exchange, 405);
    const reason = url.searchParams.get("reason") ?? "";
    switch (second) {
      case "raiseEvent":
        return third === undefined ? fail(400, "no event name") : raiseEvent(exchange, first, third);
      case "terminate":
        return sendStatus(exchange, STATUS_OF[instances.terminate(first, reason)]);
      case "suspend":
        return sendStatus(exchange, STATUS_OF[instances.suspend(first, reason)]);
      case "resume":
        return sendStatus(exchange, STATUS_OF[instances.resume(first, reason)]);
      case "rewind":
        return sendJson(exchange, 501, "UNSUPPORTED_DURABLE_FEATURE: rewind is not offered by this host.");
      case "restart":
        return restart(exchange, first);
      default:
        return sendStatus(exchange, 404);
    }
  };

  async function start(
    exchange: HttpExchange,
    functionName: string,
    id: string = randomUUID().replaceAll("-", ""),
  ): Promise<void> {
    const body = await readJsonText(exchange);
    if (body === undefined) return;
    const fn = engine.findFunction("orchestration", functionName);
    if (fn === undefined) {
      return sendJson(exchange, 400, {
        Message: `The function '${functionName}' doesn't exist, is disabled, or is not an orchestrator function.`,
      });
    }
    if (id.startsWith("@") || /[/\\#?\p{Cc}]/u.test(id) || id.length > 100) {
      return sendJson(exchange, 400, {
        Message: "Instance ids have 1 to 100 characters, no leading @ and none of / \\ # ? and control characters.",
      });
    }
    const version = exchange.url.searchParams.get("version");
    if (!instances.start({ id, name: fn.name, input: body, ...(version !== null && { version }) })) {
      const status = store.readInstance(id)?.status ?? "Running";
      return sendJson(exchange, 409, {
        Message: `An Orchestration instance with the status ${status} already exists.`,
      });
    }
    const timeout = Number(exchange.url.searchParams.get("timeout") ?? 0);
    if (timeout > 0) await waitForEnd(id, timeout * 1_000);
    const instance = store.readInstance(id);
    if (timeout > 0 && instance !== undefined && isTerminal(instance.status)) {
      return sendJson(exchange, instance.status === "Failed" ? 500 : 200, JSON.parse(instance.output ?? "null"));
    }
    sendAccepted(exchange, id);
  }

  function sendAccepted(exchange: HttpExchange, id: string): void {
    const payload = managementLinks(links(), encodeURIComponent(id));
    sendJson(exchange, 202, { ...payload, id }, { location: payload.statusQueryGetUri, "retry-after": "10" });
  }

  async function waitForEnd(id: string, timeoutMs: number): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const instance = store.readInstance(id);
      const left = deadline - Date.now();
      if (instance === undefined || isTerminal(instance.status) || left <= 0) return;
      await new Promise<void>((resolve) => {
        const giveUp = engine.onceChanged(id, () => (clearTimeout(timer), resolve()));
        const timer = setTimeout(() => (giveUp(), resolve()), left);
      });
    }
  }

  function restart(exchange: HttpExchange, id: string): void {
    const instance = store.readInstance(id);
    if (instance === undefined) return sendStatus(exchange, 404);
    const fresh = exchange.url.searchParams.get("restartWithNewInstanceId") !== "false";
    const newId = fresh ? randomUUID().replaceAll("-", "") : id;
    const { name, input } = instance;
    if (!instances.start({ id: newId, name, input })) return sendStatus(exchange, 409);
    sendAccepted(exchange, newId);
  }

  function showStatus(exchange: HttpExchange, id: string): void {
    const instance = store.readInstance(id);
    if (instance === undefined) return sendStatus(exchange, 404);
    const { searchParams } = exchange.url;
    const history = isSet(searchParams, "showHistory");
    const parts = {
      history,
      historyOutput: isSet(searchParams, "showHistoryOutput"),
      input: !isUnset(searchParams, "showInput"),
    };
    const status = describeStatus(instance, parts, history ? store.readHistory(id) : []);
    if (isTerminal(instance.status)) {
      const asError = instance.status === "Failed" && isSet(searchParams, "returnInternalServerErrorOnFailure");
      return sendJson(exchange, asError ? 500 : 200, status);
    }
    const { statusQueryGetUri } = managementLinks(links(), encodeURIComponent(id));
    sendJson(exchange, 202, status, { location: statusQueryGetUri, "retry-after": "5" });
  }

  function listStatuses(exchange: HttpExchange): void {
    const { url, request } = exchange;
    const token = request.headers["x-ms-continuation-token"];
    const after = typeof token === "string" && token !== "" ? Buffer.from(token, "base64url").toString() : undefined;
    const limit = Number(url.searchParams.get("top") ?? DEFAULT_PAGE);
    if (!Number.isInteger(limit) || limit < 1)
      return sendJson(exchange, 400, { Message: "top is not a positive integer" });
    const page = store.listInstances(readFilter(url), limit, after);
    const input = !isUnset(url.searchParams, "showInput");
    const statuses = page.instances.map((found) =>
      describeStatus(found, { input, history: false, historyOutput: false }, []),
    );
    sendJson(
      exchange,
      200,
      statuses,
      page.next === undefined ? {} : { "x-ms-continuation-token": Buffer.from(page.next).toString("base64url") },
    );
  }

  async function raiseEvent(exchange: HttpExchange, id: string, name: string): Promise<void> {
    const body = await readJsonText(exchange);
    if (body !== undefined) sendStatus(exchange, STATUS_OF[instances.raiseEvent(id, name, body)]);
  }

  function readEntity(exchange: HttpExchange, name: string, key: string): void {
    const entity = store.readEntity(formatEntityId(name, key));
    if (entity === undefined) return sendStatus(exchange, 404);
    sendJson(exchange, 200, JSON.parse(entity.state ?? "null"));
  }

  async function signalEntity(exchange: HttpExchange, name: string, key: string): Promise<void> {
    const body = await readJsonText(exchange);
    if (body === undefined) return;
    if (engine.findFunction("entity", name) === undefined) {
      return sendJson(exchange, 400, {
        Message: `The function '${name}' doesn't exist, is disabled, or is not an entity function.`,
      });
    }
    const isEmpty =
      exchange.request.headers["content-length"] === "0" || exchange.request.headers["content-length"] === undefined;
    engine.signalEntity(
      formatEntityId(name, key),
      exchange.url.searchParams.get("op") ?? "",
      isEmpty ? undefined : body,
    );
    sendStatus(exchange, 202);
  }
}

/** The body as JSON text, `null` when empty; answers 400 or 413 and returns undefined when it is neither. */
async function readJsonText(exchange: HttpExchange): Promise<string | undefined> {
  const body = await readBody(exchange.request, MAX_BODY_BYTES);
  if (body === undefined) {
    sendTooLarge(exchange);
    return undefined;
  }
  const text = body.toString();
  if (text === "") return "null";
  try {
    JSON.parse(text);
    return text;
  } catch {
    sendJson(exchange, 400, { Message: "The body is not valid JSON." });
    return undefined;
  }
}

function sendPurged(exchange: HttpExchange, instancesDeleted: number): void {
  sendJson(exchange, instancesDeleted === 0 ? 404 : 200, { instancesDeleted });
}

function readFilter({ searchParams }: URL): InstanceFilter {
  const time = (name: string): number | undefined => {
    const ms = Date.parse(searchParams.get(name) ?? "");
    return Number.isNaN(ms) ? undefined : ms;
  };
  const createdFrom = time("createdTimeFrom");
  const createdTo = time("createdTimeTo");
  const statuses = searchParams
    .getAll("runtimeStatus")
    .flatMap((list) => list.split(","))
    .filter(Boolean);
  const idPrefix = searchParams.get("instanceIdPrefix");
  return {
    ...(createdFrom !== undefined && { createdFrom }),
    ...(createdTo !== undefined && { createdTo }),
    ...(statuses.length > 0 && { statuses }),
    ...(idPrefix !== null && { idPrefix }),
  };
}

const isSet = (params: URLSearchParams, name: string): boolean => params.get(name)?.toLowerCase() === "true";
const isUnset = (params: URLSearchParams, name: string): boolean => params.get(name)?.toLowerCase() === "false";
