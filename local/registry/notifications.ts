// Delivers registry events to other services: once, as ACR's webhooks do, or in batches with retries, as Docker's registry does.
import { z } from "zod";
import type { Clock } from "../clock.ts";
import { waitOn } from "./wait.ts";
import { formatAcrEvent, formatAcrPing, formatDistributionEvent, type RegistryEvent } from "./events.ts";

/** A webhook; adding one with a known name replaces it. */
export interface NotificationTarget {
  readonly name: string;
  readonly url: string;
  /** Sent with every call, e.g. a shared secret: these webhooks are not signed. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly actions?: readonly ("push" | "delete")[];
  /** ACR's scope: empty for all, `repository:*`, `repository:tag`, or `repository` for its tag `latest`. */
  readonly scope?: string;
  /** `acr` (default): tagged pushes and deletes, one attempt each; `distribution`: everything, retried until taken. */
  readonly form?: "acr" | "distribution";
}

/** A webhook as the admin API takes it. */
export const targetSchema: z.ZodType<NotificationTarget> = z.strictObject({
  name: z.string().min(1),
  url: z.url(),
  headers: z.record(z.string(), z.string()).exactOptional(),
  actions: z.array(z.enum(["push", "delete"])).exactOptional(),
  scope: z.string().exactOptional(),
  form: z.enum(["acr", "distribution"]).exactOptional(),
});

/** One attempt to deliver; `status` is missing when no answer came. */
interface Delivery {
  readonly target: string;
  readonly events: readonly string[];
  /** What they are about: `repository:tag`, or `repository@digest` without a tag. */
  readonly subjects: readonly string[];
  readonly action: string;
  readonly status?: number;
  readonly error?: string;
}

/** The registry's outgoing notifications. */
export interface Notifications {
  add(target: NotificationTarget): void;
  remove(name: string): boolean;
  list(): NotificationTarget[];
  publish(event: RegistryEvent): void;
  /** Sends ACR's test event to a target, whatever its scope; undefined for an unknown target. */
  ping(name: string): Promise<Delivery | undefined>;
  /** The latest attempts, oldest first. */
  deliveries(): readonly Delivery[];
  /** Resolves when nothing is on its way any more. */
  settled(): Promise<void>;
  close(): void;
}

const KEPT_DELIVERIES = 1000;
const MAX_BATCH = 100;
const RETRY_MS = 1000;
const DISTRIBUTION_TYPE = "application/vnd.docker.distribution.events.v1+json";

function isInScope(scope: string, event: RegistryEvent): boolean {
  if (scope === "") return true;
  const [repository, tag = "latest"] = scope.split(":");
  return event.repository === repository && (tag === "*" || event.tag === tag);
}

function nameEvents(events: readonly RegistryEvent[]): Pick<Delivery, "events" | "subjects"> {
  return {
    events: events.map(({ id }) => id),
    subjects: events.map(({ repository, tag, digest }) =>
      tag === undefined ? `${repository}@${digest}` : `${repository}:${tag}`,
    ),
  };
}

function wants(target: NotificationTarget, event: RegistryEvent): boolean {
  if (target.actions !== undefined && !target.actions.includes(event.action)) return false;
  if (!isInScope(target.scope ?? "", event)) return false;
  if (target.form === "distribution") return true;
  return event.mediaType !== "application/octet-stream" && (event.action === "delete" || event.tag !== undefined);
}

/**
 * Creates the notifications.
 *
 * `timeoutMs` is wall time, since the other side answers in it (ACR gives up after 5 s); retries wait on the clock.
 */
export function createNotifications(options: {
  readonly clock: Clock;
  readonly createId: () => string;
  readonly timeoutMs: number;
  readonly source: { readonly addr: string; readonly instanceID: string };
}): Notifications {
  const { clock, createId, timeoutMs, source } = options;
  const targets = new Map<string, NotificationTarget>();
  const log: Delivery[] = [];
  const underway = new Set<Promise<unknown>>();
  const queues = new Map<string, RegistryEvent[]>();
  const closing = new AbortController();

  const post = async (
    target: NotificationTarget,
    body: unknown,
    about: Pick<Delivery, "events" | "subjects" | "action">,
  ): Promise<Delivery> => {
    const type = target.form === "distribution" ? DISTRIBUTION_TYPE : "application/json; charset=utf-8";
    let outcome: Pick<Delivery, "status" | "error">;
    try {
      const response = await fetch(target.url, {
        method: "POST",
        headers: { "Content-Type": type, "User-Agent": "AzureContainerRegistry/1.0", ...target.headers },
        body: JSON.stringify(body),
        redirect: "manual",
        signal: AbortSignal.any([closing.signal, AbortSignal.timeout(timeoutMs)]),
      });
      outcome = { status: response.status };
      await response.body?.cancel();
    } catch (error) {
      outcome = { error: String(error instanceof Error && error.cause !== undefined ? error.cause : error) };
    }
    const delivery = { target: target.name, ...about, ...outcome };
    log.push(delivery);
    log.splice(0, log.length - KEPT_DELIVERIES);
    return delivery;
  };
  const track = <T>(work: Promise<T>): Promise<T> => {
    const tracked = work.finally(() => underway.delete(tracked));
    underway.add(tracked);
    return tracked;
  };

  /** Sends the target's queue, oldest first, batch by batch, until it is empty or the target is gone. */
  const drain = async (name: string, queue: RegistryEvent[]): Promise<void> => {
    while (queue.length > 0 && !closing.signal.aborted) {
      const target = targets.get(name);
      if (target === undefined) break;
      const batch = queue.slice(0, MAX_BATCH);
      const body = { events: batch.map((event) => formatDistributionEvent(event, source)) };
      const { status = 0 } = await post(target, body, { ...nameEvents(batch), action: "batch" });
      if (status >= 200 && status < 400) queue.splice(0, batch.length);
      else await waitOn(clock, RETRY_MS, closing.signal);
    }
    queues.delete(name);
  };

  return {
    add: (target) => void targets.set(target.name, target),
    remove: (name) => targets.delete(name),
    list: () => [...targets.values()],
    publish(event) {
      for (const target of targets.values()) {
        if (!wants(target, event)) continue;
        if (target.form !== "distribution") {
          void track(post(target, formatAcrEvent(event), { ...nameEvents([event]), action: event.action }));
          continue;
        }
        const queue = queues.get(target.name);
        if (queue !== undefined) {
          queue.push(event);
          continue;
        }
        const started = [event];
        queues.set(target.name, started);
        void track(drain(target.name, started));
      }
    },
    async ping(name) {
      const target = targets.get(name);
      if (target === undefined) return undefined;
      const id = createId();
      return await track(post(target, formatAcrPing(id, clock.now()), { events: [id], subjects: [], action: "ping" }));
    },
    deliveries: () => log,
    async settled() {
      while (underway.size > 0) await Promise.all(underway);
    },
    close: () => closing.abort(),
  };
}
