// Serves operations as Azure Resource Manager does: paths, api-version, Bearer tokens, faults, error bodies.
import { randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
import { createAdaptorServer, type HttpBindings } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { type Context, Hono } from "hono";
import { ArmError, renderArmError } from "./arm-error.ts";
import type { FaultOrders } from "./faults.ts";
import type { ArmOperation, ArmReply } from "./operations.ts";

/** Which registry there is. */
interface RegistryPath {
  readonly subscriptionId: string;
  readonly resourceGroup: string;
  readonly registryName: string;
}

/** What is served. */
export interface RestServerOptions extends RegistryPath {
  readonly operations: readonly ArmOperation[];
  /** Lets a Bearer token in or not; undefined lets everybody in. */
  readonly acceptBearer: ((token: string) => boolean) | undefined;
  readonly faults: FaultOrders;
  /** Called for every call of an operation, answered or not. */
  readonly count: (operation: string) => void;
}

type ArmContext = Context<{ Bindings: HttpBindings }>;

/** The api-versions of tasks and runs. */
const API_VERSIONS: readonly string[] = ["2025-03-01-preview", "2019-06-01-preview"];
const VERSION = /^\d{4}-\d{2}-\d{2}(?:-preview)?$/;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const MAX_BODY_BYTES = 4 << 20;
const ROOT =
  "/subscriptions/:subscriptionId/resourceGroups/:resourceGroup/providers/Microsoft.ContainerRegistry/registries/:registryName";
const FAULTS: Readonly<Record<number, readonly [code: string, text: string]>> = {
  429: ["TooManyRequests", "The request is being throttled as the limit has been reached for operation type."],
  500: ["InternalServerError", "Encountered internal server error."],
  502: ["BadGateway", "The gateway did not receive a response from 'Microsoft.ContainerRegistry'."],
  503: ["ServiceUnavailable", "The service is temporarily unavailable."],
  504: ["GatewayTimeout", "The gateway did not receive a response from 'Microsoft.ContainerRegistry' within the time."],
};
const RETRY_AFTER_SECONDS = 5;

/** Serves on 127.0.0.1; port 0 is any free one. */
export async function serveOperations(
  options: RestServerOptions,
  port: number,
): Promise<{ readonly port: number; close(): Promise<void> }> {
  const app = new Hono<{ Bindings: HttpBindings }>({ getPath: (request) => canonicalPath(request.url) });

  const carryOut = async (operation: ArmOperation, context: ArmContext): Promise<ArmReply> => {
    checkBearer(context.req.header("authorization"), options.acceptBearer);
    const apiVersion = checkApiVersion(context.req.query("api-version"));
    const parameters = context.req.param() as Record<string, string>;
    checkRegistry(parameters, options);
    const url = new URL(context.req.url);
    const body = await readBody(context);
    return await operation.handle({
      parameters,
      query: url.searchParams,
      apiVersion,
      body,
      url: `${url.origin}${url.pathname}`,
    });
  };

  for (const operation of options.operations) {
    app.on(
      operation.method,
      `${ROOT}${operation.path}`.toLowerCase().replaceAll(/:\w+/g, restoreParameter),
      async (context: ArmContext) => {
        options.count(operation.name);
        const fault = options.faults.nextForCall(operation.name);
        if (fault?.kind === "reset") return hangUp(context);
        if (fault?.kind === "status") {
          const [code, text] = FAULTS[fault.status] ?? ["InternalServerError", "Encountered internal server error."];
          const details = fault.status === 429 ? { retryAfterSeconds: RETRY_AFTER_SECONDS } : {};
          return refuse(new ArmError(fault.status, code, text, details));
        }
        const response = await carryOut(operation, context).then(respond, refuse);
        return fault?.kind === "lost" ? hangUp(context) : response;
      },
    );
  }
  app.notFound((context) => {
    const { pathname } = new URL(context.req.url);
    return refuse(new ArmError(404, "InvalidResourceType", `No operation ${context.req.method} ${pathname}.`));
  });
  app.onError(refuse);

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

/** ARM's paths are case-insensitive in their fixed parts; names keep their case. */
const FIXED = new Set(
  "subscriptions resourcegroups providers microsoft.containerregistry registries listbuildsourceuploadurl schedulerun runs cancel listlogsasurl tasks".split(
    " ",
  ),
);
function canonicalPath(url: string): string {
  return new URL(url).pathname
    .split("/")
    .map((part) => (FIXED.has(part.toLowerCase()) ? part.toLowerCase() : part))
    .join("/")
    .replace(/(?<=.)\/$/, "");
}
const PARAMETERS = ["subscriptionId", "resourceGroup", "registryName", "runId", "taskName"];
const restoreParameter = (lower: string): string =>
  `:${PARAMETERS.find((name) => `:${name.toLowerCase()}` === lower) ?? lower.slice(1)}`;

function checkBearer(header: string | undefined, accept: RestServerOptions["acceptBearer"]): void {
  if (accept === undefined) return;
  const token = /^Bearer\s+(\S+)$/i.exec(header ?? "")?.[1];
  if (token === undefined) {
    const text = "Authentication failed. The 'Authorization' header is missing or the access token is invalid.";
    throw new ArmError(401, "AuthenticationFailed", text);
  }
  if (!accept(token)) throw new ArmError(401, "InvalidAuthenticationToken", "The access token is invalid.");
}

function checkApiVersion(version: string | undefined): string {
  if (version === undefined || version === "") {
    const text = "The api-version query parameter (?api-version=) is required for all requests.";
    throw new ArmError(400, "MissingApiVersionParameter", text);
  }
  if (API_VERSIONS.includes(version)) return version;
  const supported = API_VERSIONS.join(", ");
  if (!VERSION.test(version)) {
    const text = `The api-version '${version}' is invalid. The supported versions are '${supported}'.`;
    throw new ArmError(400, "InvalidApiVersionParameter", text);
  }
  const text = `No registered resource provider found for API version '${version}' for type 'registries/runs'. The supported api-versions are '${supported}'.`;
  throw new ArmError(400, "NoRegisteredProviderFound", text);
}

function checkRegistry(parameters: Readonly<Record<string, string>>, known: RegistryPath): void {
  const { subscriptionId = "", resourceGroup = "", registryName = "" } = parameters;
  const same = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();
  if (!UUID.test(subscriptionId)) {
    const text = `The provided subscription identifier '${subscriptionId}' is malformed or invalid.`;
    throw new ArmError(400, "InvalidSubscriptionId", text);
  }
  if (!same(subscriptionId, known.subscriptionId)) {
    throw new ArmError(404, "SubscriptionNotFound", `The subscription '${subscriptionId}' could not be found.`);
  }
  if (!same(resourceGroup, known.resourceGroup)) {
    throw new ArmError(404, "ResourceGroupNotFound", `Resource group '${resourceGroup}' could not be found.`);
  }
  if (!same(registryName, known.registryName)) {
    const text = `The Resource 'Microsoft.ContainerRegistry/registries/${registryName}' under resource group '${resourceGroup}' was not found.`;
    throw new ArmError(404, "ResourceNotFound", text);
  }
}

async function readBody(context: ArmContext): Promise<unknown> {
  const text = await context.req.text();
  if (text === "") return undefined;
  if (Buffer.byteLength(text) > MAX_BODY_BYTES) {
    throw new ArmError(413, "RequestEntityTooLarge", `The request's body is larger than ${MAX_BODY_BYTES} bytes.`);
  }
  try {
    // To ARM a null is what was left out.
    return JSON.parse(text, (_key, value: unknown) => (value === null ? undefined : value)) as unknown;
  } catch {
    throw new ArmError(400, "InvalidRequestContent", "The request content was invalid and could not be deserialized.");
  }
}

function respond({ status, body }: ArmReply): Response {
  const headers = { "x-ms-request-id": randomUUID() };
  if (body === undefined) return new Response(null, { status, headers });
  return new Response(JSON.stringify(body), {
    status,
    headers: { ...headers, "content-type": "application/json; charset=utf-8" },
  });
}

function refuse(error: unknown): Response {
  const known =
    error instanceof ArmError
      ? error
      : new ArmError(500, "InternalServerError", error instanceof Error ? error.message : String(error));
  const headers: Record<string, string> = {
    "content-type": "application/json; charset=utf-8",
    "x-ms-request-id": randomUUID(),
  };
  if (known.status === 401) headers["www-authenticate"] = 'Bearer error="invalid_token"';
  const { retryAfterSeconds } = known.details;
  if (retryAfterSeconds !== undefined) headers["retry-after"] = String(retryAfterSeconds);
  return new Response(JSON.stringify(renderArmError(known)), { status: known.status, headers });
}

function hangUp(context: ArmContext): Response {
  context.env.incoming.socket.resetAndDestroy();
  return RESPONSE_ALREADY_SENT;
}
