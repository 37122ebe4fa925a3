// The embedded container registry: OCI distribution, the calls of Azure's registry, webhooks, counters and faults.
import { randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type Clock, createScaledClock } from "../clock.ts";
import { type AuthOptions, createAuth } from "./auth.ts";
import { createBlobStore } from "./blob-store.ts";
import type { Call } from "./call.ts";
import { createCatalog } from "./catalog.ts";
import { labelOf } from "./clients.ts";
import { openDatabase } from "./database.ts";
import { dispatch, type Parts } from "./dispatch.ts";
import { createFaults, type FaultEffect, type Faults } from "./faults.ts";
import { handleAdmin } from "./handle-admin.ts";
import { createNotifications, type NotificationTarget, type Notifications } from "./notifications.ts";
import { createReadLimit, createReplicaLag, type ReadLimit, type ReplicaLag } from "./read-limits.ts";
import { RegistryRefusal } from "./refusal.ts";
import { type Reply, replyError, replyRefusal } from "./reply.ts";
import { isRead, matchPath, scopeOf } from "./routes.ts";
import { createTrafficCounter, type Traffic } from "./traffic.ts";
import { createUploads } from "./uploads.ts";
import { writeReply } from "./write-reply.ts";

/** How a registry is set up. */
export interface RegistryOptions {
  /** Where its data live; created if missing, taken over if not. */
  readonly folder: string;
  /** The port at 127.0.0.1; 0 (default) takes a free one. */
  readonly port?: number;
  /** Time of records, limits, lag and delays; the wall clock by default. */
  readonly clock?: Clock;
  /** Without it everybody may do everything. */
  readonly auth?: AuthOptions;
  readonly webhooks?: readonly NotificationTarget[];
  /** How long a webhook may take, in wall milliseconds; 5,000 by default, as ACR waits. */
  readonly webhookTimeoutMs?: number;
  readonly readsPerMinute?: number;
  readonly replicaLagMs?: number;
  readonly createId?: () => string;
}

/** A running registry. */
export interface LocalRegistry {
  /** `http://127.0.0.1:<port>`. */
  readonly url: string;
  /** `127.0.0.1:<port>`: the registry part of image references, its login server and token service. */
  readonly host: string;
  /** Opens another port onto the same content, whose traffic counts for `label`; the same label has the same URL. */
  endpoint(label: string): Promise<string>;
  /** What a client moved so far, as its sockets count. */
  traffic(label: string): Traffic;
  readonly faults: Faults;
  readonly webhooks: Notifications;
  readonly readLimit: ReadLimit;
  readonly replicaLag: ReplicaLag;
  /** Ends every connection; the data stay. */
  close(): Promise<void>;
}

const API_VERSION = { "Docker-Distribution-Api-Version": "registry/2.0" };

async function listen(server: Server, port: number): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      server.off("error", reject);
      resolve();
    });
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/**
 * Starts a registry on 127.0.0.1.
 *
 * Follows the OCI distribution spec 1.1 and the calls of `@azure/container-registry`; `Location` headers are relative,
 * as that SDK needs them. Bodies stream both ways, so memory does not depend on their size.
 */
export async function createRegistry(options: RegistryOptions): Promise<LocalRegistry> {
  mkdirSync(options.folder, { recursive: true });
  const clock = options.clock ?? createScaledClock({ originMs: 0, scale: 1 });
  const createId = options.createId ?? randomUUID;
  const now = (): number => Math.floor(clock.now());
  const database = openDatabase(options.folder);
  const blobs = createBlobStore(options.folder, database);
  const uploads = createUploads({ folder: options.folder, database, blobs, now, createId });
  const catalog = createCatalog(database, now);
  const readLimit = createReadLimit(options.readsPerMinute, now);
  const lag = createReplicaLag(options.replicaLagMs ?? 0, now);
  const traffic = createTrafficCounter();
  const faults = createFaults();
  const endpoints = new Map<string, Promise<string>>();
  const servers: Server[] = [];

  const openListener = async (label: string | undefined, port: number): Promise<string> => {
    const server = createServer({ keepAliveTimeout: 65_000, requestTimeout: 0 }, (request, response) => {
      void serve(request, response, label);
    });
    server.on("connection", (socket) => traffic.connected(socket, label));
    servers.push(server);
    return await listen(server, port);
  };
  const endpoint = async (label: string): Promise<string> => {
    const known = endpoints.get(label) ?? openListener(label, 0).then((host) => `http://${host}`);
    endpoints.set(label, known);
    return await known;
  };

  const host = await openListener(undefined, options.port ?? 0).catch((error: unknown) => {
    database.close();
    throw error;
  });
  const auth = createAuth(options.auth, host);
  const notifications = createNotifications({
    clock,
    createId,
    timeoutMs: options.webhookTimeoutMs ?? 5000,
    source: { addr: host, instanceID: createId() },
  });
  for (const target of options.webhooks ?? []) notifications.add(target);

  const notify: Parts["notify"] = ({ request, method, who }, change) => {
    notifications.publish({
      ...change,
      id: createId(),
      at: clock.now(),
      request: {
        id: createId(),
        host,
        method,
        useragent: request.headers["user-agent"] ?? "",
        addr: `${request.socket.remoteAddress ?? ""}:${request.socket.remotePort ?? 0}`,
      },
      ...(who === undefined || who === "unknown" ? {} : { actor: who.name }),
    });
  };
  const parts: Parts = { blobs, uploads, catalog, lag, auth, notify, service: host };
  const admin = { traffic, faults, notifications, readLimit, lag, endpoint };

  const answer = async (call: Call): Promise<Reply> => {
    try {
      if (call.path.startsWith("/_local/")) return await handleAdmin(call, admin);
      const target = matchPath(call.path);
      if (target === undefined) return replyError(404, "UNSUPPORTED", `nothing at ${call.path}`);
      const isTokenCall = target.kind === "token" || target.kind === "exchange";
      if (!isTokenCall) auth.authorize(call.who, scopeOf(call.method, target), call.request.headers.host ?? host);
      if (isRead(call.method, target)) readLimit.admit(call.path);
      return await dispatch(call, target, parts);
    } catch (error) {
      if (error instanceof RegistryRefusal) return replyRefusal(error);
      throw error;
    }
  };

  /** Applies the faults that come before an answer; returns what is left for the writing of it, or a reply instead. */
  const suffer = async (
    request: IncomingMessage,
    effects: readonly FaultEffect[],
  ): Promise<Reply | "gone" | undefined> => {
    for (const effect of effects) {
      if (effect.kind === "delay") await new Promise<void>((resolve) => void clock.after(effect.ms, resolve));
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
  };

  async function serve(
    request: IncomingMessage,
    response: ServerResponse,
    listener: string | undefined,
  ): Promise<void> {
    const method = request.method ?? "GET";
    const [path = "/", query = ""] = (request.url ?? "/").split("?", 2);
    try {
      const who = auth.identify(request);
      const isAdmin = path.startsWith("/_local/");
      const client = isAdmin ? "_local" : labelOf(request, listener, who);
      traffic.requested(request, client);
      const effects = isAdmin ? [] : faults.take({ method, path, client });
      const instead = await suffer(request, effects);
      if (instead === "gone") return;
      const reply = instead ?? (await answer({ request, method, path, query: new URLSearchParams(query), who }));
      await writeReply(response, method, { ...reply, headers: { ...API_VERSION, ...reply.headers } }, effects);
    } catch (error) {
      if (request.destroyed || response.destroyed || response.headersSent) {
        response.destroy();
        return;
      }
      const reply = replyError(500, "UNKNOWN", `${method} ${path}: ${String(error)}`);
      await writeReply(response, method, reply, []).catch(() => response.destroy());
    }
  }

  return {
    url: `http://${host}`,
    host,
    endpoint,
    traffic: (label) => traffic.read(label),
    faults,
    webhooks: notifications,
    readLimit,
    replicaLag: lag,
    async close() {
      notifications.close();
      await notifications.settled();
      await Promise.all(
        servers.map(
          (server) =>
            new Promise<void>((resolve) => {
              server.close(() => resolve());
              server.closeAllConnections();
            }),
        ),
      );
      database.close();
    },
  };
}
