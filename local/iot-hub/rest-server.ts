// Serves operations over HTTP: access, api-version, throttles, faults, counts, and the service's way to say no.
import { randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
import { type HttpBindings, createAdaptorServer } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { type Context, Hono } from "hono";
import type { Clock } from "../clock.ts";
import type { AccessOptions } from "./access.ts";
import { checkAccess } from "./access.ts";
import { DirectMethodError } from "./direct-methods.ts";
import type { FaultInjector } from "./faults.ts";
import { IotHubError, renderErrorBody } from "./iot-hub-error.ts";
import type { Json } from "./json.ts";
import type { HubResponse, Operation } from "./operation.ts";
import type { Throttle } from "./throttle.ts";

/** What is served, and what stands before it. */
export interface RestServerOptions {
  readonly clock: Clock;
  readonly operations: readonly Operation[];
  /** Undefined lets every caller in. Asked late, because the port is part of the host's name. */
  access(): AccessOptions | undefined;
  readonly throttle: Throttle;
  readonly faults: FaultInjector;
  /** Called for every request of an operation, answered or not. */
  count(operation: string): void;
}

type HubContext = Context<{ Bindings: HttpBindings }>;

const API_VERSIONS: ReadonlySet<string> = new Set(["2018-06-30", "2020-05-31-preview", "2020-09-30", "2021-04-12"]);
const MAX_BODY_BYTES = 1024 * 1024;
const FAULT_TEXTS: Readonly<Record<number, readonly [string, string]>> = {
  429: ["ThrottlingException", "The request has been throttled. Wait 10 seconds and try again."],
  500: ["ServerError", "A server-side error occurred"],
  502: ["GenericBadGateway", "A bad gateway error occurred"],
  503: ["ServiceUnavailable", "The service is unavailable"],
  504: ["GatewayTimeout", "The gateway timed out"],
};

function checkApiVersion(version: string | undefined): void {
  if (version === undefined || !API_VERSIONS.has(version)) {
    throw new IotHubError(400, "InvalidProtocolVersion", `api-version ${version ?? "is missing and"} is not supported`);
  }
}

async function readBody(context: HubContext): Promise<Json | undefined> {
  const text = await context.req.text();
  if (text === "") return undefined;
  if (Buffer.byteLength(text) > MAX_BODY_BYTES)
    throw new IotHubError(413, "GenericRequestEntityTooLarge", `The body is larger than ${MAX_BODY_BYTES} bytes`);
  try {
    return JSON.parse(text) as Json;
  } catch {
    throw new IotHubError(400, "IotHubFormatError", "The request body is not JSON");
  }
}

function refuse(error: unknown, clock: Clock): HubResponse {
  const trackingId = randomUUID();
  if (error instanceof DirectMethodError) {
    return {
      status: error.status,
      body: error.render(trackingId, clock.now()),
      headers: { "iothub-errorcode": error.label },
    };
  }
  const known =
    error instanceof IotHubError
      ? error
      : new IotHubError(500, "ServerError", error instanceof Error ? error.message : String(error));
  const headers: Record<string, string> = { "iothub-errorcode": known.errorCode };
  if (known.status === 429) headers["connection"] = "close";
  return { status: known.status, body: renderErrorBody(known, trackingId), headers };
}

function respond({ status, body, headers = {} }: HubResponse): Response {
  if (body === undefined) return new Response(null, { status, headers });
  return new Response(JSON.stringify(body), {
    status,
    headers: { ...headers, "content-type": "application/json; charset=utf-8" },
  });
}

function hangUp(context: HubContext): Response {
  context.env.incoming.socket.resetAndDestroy();
  return RESPONSE_ALREADY_SENT;
}

/** Serves the operations on 127.0.0.1; port 0 is any free one. */
export async function serveOperations(
  options: RestServerOptions,
  port: number,
): Promise<{ port: number; close(): Promise<void> }> {
  const { clock, throttle, faults } = options;
  const app = new Hono<{ Bindings: HttpBindings }>({ strict: false });

  const carryOut = async (operation: Operation, context: HubContext): Promise<HubResponse> => {
    const access = options.access();
    if (access !== undefined) checkAccess(context.req.header("authorization"), access);
    checkApiVersion(context.req.query("api-version"));
    throttle.take(operation.throttle);
    const body = await readBody(context);
    const path = context.req.param() as Record<string, string>;
    return operation.handle({
      path,
      search: new URL(context.req.url).searchParams,
      body,
      header: (name) => context.req.header(name),
    });
  };

  for (const operation of options.operations) {
    app.on(operation.method, operation.route, async (context: HubContext) => {
      options.count(operation.name);
      const fault = faults.next(operation.name, context.req.path);
      if (fault?.kind === "reset") return hangUp(context);
      if (fault?.kind === "status") {
        const [code, text] = FAULT_TEXTS[fault.status] ?? ["ServerError", "A server-side error occurred"];
        return respond(refuse(new IotHubError(fault.status, code, text), clock));
      }
      if (fault?.kind === "delay") await new Promise<void>((resolve) => void clock.after(fault.ms, resolve));
      const response = await carryOut(operation, context).catch((error: unknown) => refuse(error, clock));
      return fault?.kind === "lost" ? hangUp(context) : respond(response);
    });
  }
  app.notFound((context) =>
    respond(
      refuse(new IotHubError(404, "GenericNotFound", `No operation ${context.req.method} ${context.req.path}`), clock),
    ),
  );
  app.onError((error) => respond(refuse(error, clock)));

  const server = createAdaptorServer({ fetch: app.fetch });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      server.removeListener("error", reject);
      resolve();
    });
  });
  const { port: bound } = server.address() as AddressInfo;
  return {
    port: bound,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        if ("closeAllConnections" in server) server.closeAllConnections();
      }),
  };
}
