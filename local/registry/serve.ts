// From a request to its answer: who sends it, what goes wrong on purpose, what is allowed, what is replied.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Clock } from "../clock.ts";
import type { Call } from "./call.ts";
import { labelOf } from "./clients.ts";
import { dispatch, type Parts } from "./dispatch.ts";
import type { FaultEffect } from "./faults.ts";
import { type AdminParts, handleAdmin } from "./handle-admin.ts";
import { readStoredBlob } from "./handle-blobs.ts";
import { RegistryRefusal } from "./refusal.ts";
import { type Reply, replyError, replyRefusal } from "./reply.ts";
import { isRead, matchPath, scopeOf } from "./routes.ts";
import type { StorageLinks } from "./storage-links.ts";
import { waitOn } from "./wait.ts";
import { writeReply } from "./write-reply.ts";

/** What serving needs beside the handlers' parts. */
export interface ServeOptions {
  readonly parts: Parts;
  readonly admin: AdminParts;
  readonly clock: Clock;
  readonly links: StorageLinks;
  /** Aborts when the registry closes, which ends waits. */
  readonly closing: AbortSignal;
}

/** Serves the requests of a listener whose clients are counted under `listener`, if it has a label. */
export type Serve = (request: IncomingMessage, response: ServerResponse, listener: string | undefined) => Promise<void>;

const isAdmin = (path: string): boolean => path.startsWith("/_local/");
const API_VERSION = { "Docker-Distribution-Api-Version": "registry/2.0" };

/** Applies the faults that come before an answer: "gone" when the connection is, a reply when one is given instead. */
async function suffer(
  request: IncomingMessage,
  effects: readonly FaultEffect[],
  { clock, closing }: ServeOptions,
): Promise<Reply | "gone" | undefined> {
  for (const effect of effects) {
    if (effect.kind === "delay") await waitOn(clock, effect.ms, closing);
    if (effect.kind === "reset") {
      request.socket.resetAndDestroy();
      return "gone";
    }
    if (effect.kind === "status") {
      const { status, code = "UNKNOWN", retryAfterSeconds } = effect;
      const headers = retryAfterSeconds === undefined ? {} : { "Retry-After": String(retryAfterSeconds) };
      return replyError(status, code, `answer ${status} on purpose`, { headers });
    }
  }
  return undefined;
}

async function answer(call: Call, { parts, admin, links }: ServeOptions): Promise<Reply> {
  try {
    if (isAdmin(call.path)) return await handleAdmin(call, admin);
    if (call.path.startsWith("/storage/")) return readStoredBlob(call, parts, links.read(call.path, call.query));
    const target = matchPath(call.path);
    if (target === undefined) return replyError(404, "UNSUPPORTED", `nothing at ${call.path}`);
    const isTokenCall = target.kind === "token" || target.kind === "exchange";
    const host = call.request.headers.host ?? parts.service;
    if (!isTokenCall) parts.auth.authorize(call.who, scopeOf(call.method, target), host);
    if (isRead(call.method, target)) admin.readLimit.admit(call.path);
    return await dispatch(call, target, parts);
  } catch (error) {
    if (error instanceof RegistryRefusal) return replyRefusal(error);
    throw error;
  }
}

function readCall(request: IncomingMessage, listener: string | undefined, { parts, links }: ServeOptions): Call {
  const url = request.url ?? "/";
  const mark = url.indexOf("?");
  const path = mark < 0 ? url : url.slice(0, mark);
  const query = new URLSearchParams(mark < 0 ? "" : url.slice(mark + 1));
  const who = parts.auth.identify(request);
  const client = isAdmin(path) ? "_local" : (links.read(path, query)?.client ?? labelOf(request, listener, who));
  return { request, method: request.method ?? "GET", path, query, who, client };
}

/** Creates the server's one request function; it never rejects. */
export function createServe(options: ServeOptions): Serve {
  const { traffic, faults } = options.admin;
  return async (request, response, listener) => {
    const method = request.method ?? "GET";
    try {
      const call = readCall(request, listener, options);
      traffic.requested(request, call.client);
      const effects = isAdmin(call.path) ? [] : faults.take(call);
      const instead = await suffer(request, effects, options);
      if (instead === "gone") return;
      const reply = instead ?? (await answer(call, options));
      await writeReply(response, method, { ...reply, headers: { ...API_VERSION, ...reply.headers } }, effects);
    } catch (error) {
      if (request.socket.destroyed || response.destroyed || response.headersSent) {
        response.destroy();
        return;
      }
      const reply = replyError(500, "UNKNOWN", `${method} ${request.url ?? ""}: ${String(error)}`);
      await writeReply(response, method, reply, []).catch(() => response.destroy());
    }
  };
}
