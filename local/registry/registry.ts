// The embedded container registry: OCI distribution, the calls of Azure's registry, webhooks, counters and faults.
import { randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { type Clock, createScaledClock } from "../clock.ts";
import { type AuthOptions, createAuth } from "./auth.ts";
import { createBlobStore } from "./blob-store.ts";
import { createCatalog } from "./catalog.ts";
import { openDatabase } from "./database.ts";
import type { Parts } from "./dispatch.ts";
import { createFaults, type Faults } from "./faults.ts";
import { createListeners } from "./listeners.ts";
import { createNotifications, type NotificationTarget, type Notifications } from "./notifications.ts";
import { createReadLimit, createReplicaLag, type ReadLimit, type ReplicaLag } from "./read-limits.ts";
import { createServe, type Serve } from "./serve.ts";
import { createStorageLinks } from "./storage-links.ts";
import { createTrafficCounter, type Traffic } from "./traffic.ts";
import { createUploads } from "./uploads.ts";

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
  /**
   * Answers blob reads with 307 to another port, as Azure's registry sends clients to its storage; there a request is
   * counted for the client that was sent, and refused if it still carries `Authorization`. Off by default.
   */
  readonly redirectBlobs?: boolean;
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
  const links = createStorageLinks();
  const listeners = createListeners(traffic);
  const endpoints = new Map<string, Promise<string>>();
  const closing = new AbortController();
  const ready = Promise.withResolvers<Serve>();

  const openListener = async (label: string | undefined, port: number): Promise<string> =>
    await listeners.open(port, label, (request, response) => {
      void ready.promise.then((serve) => serve(request, response, label));
    });
  const endpoint = async (label: string): Promise<string> => {
    const known = endpoints.get(label) ?? openListener(label, 0).then((host) => `http://${host}`);
    endpoints.set(label, known);
    return await known;
  };

  const host = await openListener(undefined, options.port ?? 0).catch((error: unknown) => {
    database.close();
    throw error;
  });
  const storageHost = options.redirectBlobs === true ? await openListener(undefined, 0) : undefined;
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
  const redirect: Parts["redirect"] = (link) =>
    storageHost === undefined ? undefined : `http://${storageHost}${links.sign(link)}`;
  const parts: Parts = { blobs, uploads, catalog, lag, auth, notify, service: host, redirect };
  const admin = { traffic, faults, notifications, readLimit, lag, endpoint };
  ready.resolve(createServe({ parts, admin, clock, links, closing: closing.signal }));

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
      closing.abort();
      notifications.close();
      await notifications.settled();
      await listeners.close();
      database.close();
    },
  };
}
