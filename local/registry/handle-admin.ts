// What the stack and its tests ask of the registry beside its protocol: `/_local/…`.
import { z } from "zod";
import { type Call, readBody, refuseMethod } from "./call.ts";
import { type Faults, faultSchema } from "./faults.ts";
import { type Notifications, targetSchema } from "./notifications.ts";
import type { ReadLimit, ReplicaLag } from "./read-limits.ts";
import { type Reply, replyError, replyJson } from "./reply.ts";
import type { TrafficCounter } from "./traffic.ts";

const MAX_BODY_BYTES = 1024 * 1024;

/** What the admin calls reach. */
export interface AdminParts {
  readonly traffic: TrafficCounter;
  readonly faults: Faults;
  readonly notifications: Notifications;
  readonly readLimit: ReadLimit;
  readonly lag: ReplicaLag;
  /** Opens (or finds) the listener of one client. */
  endpoint(label: string): Promise<string>;
}

const settingsSchema = z.strictObject({
  readsPerMinute: z.int().nonnegative().nullable().optional(),
  replicaLagMs: z.number().nonnegative().optional(),
});

async function parseBody<T>(call: Call, schema: z.ZodType<T>): Promise<T> {
  return schema.parse(JSON.parse((await readBody(call.request, MAX_BODY_BYTES)).toString()));
}

/**
 * Handles `/_local/…`; bodies and answers are JSON.
 *
 * `GET traffic[/<label>]`; `POST endpoints/<label>` → `{url}`; `POST|DELETE faults`; `GET|POST webhooks`,
 * `DELETE webhooks/<name>`, `POST webhooks/<name>/ping`; `GET deliveries`; `PATCH settings` {readsPerMinute, replicaLagMs}.
 */
export async function handleAdmin(call: Call, parts: AdminParts): Promise<Reply> {
  try {
    return await route(call, parts);
  } catch (error) {
    if (error instanceof z.ZodError) return replyError(400, "BODY_INVALID", z.prettifyError(error));
    if (error instanceof SyntaxError) return replyError(400, "BODY_INVALID", `${call.path}: the body is not JSON`);
    throw error;
  }
}

async function route(call: Call, parts: AdminParts): Promise<Reply> {
  const { traffic, faults, notifications } = parts;
  const { method } = call;
  const [, , area = "", item, verb] = call.path.split("/").map(decodeURIComponent);
  switch (area) {
    case "traffic":
      if (method !== "GET") return refuseMethod(call, "GET");
      if (item !== undefined) return replyJson(traffic.read(item));
      return replyJson({ clients: Object.fromEntries(traffic.labels().map((label) => [label, traffic.read(label)])) });
    case "endpoints":
      if (method !== "POST" || item === undefined) return refuseMethod(call, "POST");
      return replyJson({ url: await parts.endpoint(item) });
    case "faults":
      if (method === "DELETE") {
        faults.clear();
        return { status: 204 };
      }
      if (method !== "POST") return refuseMethod(call, "POST", "DELETE");
      faults.inject(await parseBody(call, faultSchema));
      return { status: 204 };
    case "webhooks":
      return await routeWebhooks(call, notifications, item, verb);
    case "deliveries":
      if (method !== "GET") return refuseMethod(call, "GET");
      return replyJson({ deliveries: notifications.deliveries() });
    case "settings": {
      if (method !== "PATCH") return refuseMethod(call, "PATCH");
      const { readsPerMinute, replicaLagMs } = await parseBody(call, settingsSchema);
      if (readsPerMinute !== undefined) parts.readLimit.set(readsPerMinute ?? undefined);
      if (replicaLagMs !== undefined) parts.lag.set(replicaLagMs);
      return { status: 204 };
    }
    default:
      return replyError(404, "NOT_FOUND", `nothing at ${call.path}`);
  }
}

async function routeWebhooks(
  call: Call,
  notifications: Notifications,
  name: string | undefined,
  verb: string | undefined,
): Promise<Reply> {
  if (name === undefined) {
    if (call.method === "GET") {
      return replyJson({ webhooks: notifications.list().map(({ headers: _secret, ...target }) => target) });
    }
    if (call.method !== "POST") return refuseMethod(call, "GET", "POST");
    notifications.add(await parseBody(call, targetSchema));
    return { status: 204 };
  }
  if (verb === "ping" && call.method === "POST") {
    const delivery = await notifications.ping(name);
    if (delivery !== undefined) return replyJson(delivery);
  } else if (verb === undefined && call.method === "DELETE") {
    if (notifications.remove(name)) return { status: 204 };
  } else {
    return refuseMethod(call, "DELETE", "POST");
  }
  return replyError(404, "NOT_FOUND", `no webhook ${name}`);
}
