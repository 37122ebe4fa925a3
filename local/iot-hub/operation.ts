// What an operation of the REST interface is: its route, its throttle class, its requests and answers.
import type { Clock } from "../clock.ts";
import type { ConfigurationStore } from "./configuration-store.ts";
import type { Deployer } from "./deployer.ts";
import type { DeviceStore } from "./device-store.ts";
import type { DirectMethods } from "./direct-methods.ts";
import type { IdentityRegistry } from "./identity-registry.ts";
import { badRequest } from "./iot-hub-error.ts";
import { type Json, type JsonObject, isObject } from "./json.ts";
import type { Jobs } from "./jobs.ts";
import type { OperationClass } from "./throttle.ts";

/** A request as operations see it: the parts of its path by name, decoded. */
export interface HubRequest {
  readonly path: Readonly<Record<string, string>>;
  readonly search: URLSearchParams;
  readonly body: Json | undefined;
  header(name: string): string | undefined;
}

/** An answer; without a body it has no content type either. */
export interface HubResponse {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One operation of the REST interface. */
export interface Operation {
  /** The name under which calls are counted and faults are ordered. */
  readonly name: string;
  readonly method: "GET" | "PUT" | "PATCH" | "POST" | "DELETE";
  /** The route with `:name` for parts. */
  readonly route: string;
  readonly throttle: OperationClass;
  handle(request: HubRequest): HubResponse | Promise<HubResponse>;
}

/** The hub's parts that operations work on. */
export interface OperationsOptions {
  readonly clock: Clock;
  readonly devices: DeviceStore;
  readonly identities: IdentityRegistry;
  readonly configurations: ConfigurationStore;
  readonly deployer: Deployer;
  readonly methods: DirectMethods;
  readonly jobs: Jobs;
  /** Items per page unless the request asks for fewer or more, and the most it gets. */
  readonly pageSize: { readonly preset: number; readonly most: number };
}

/** An answer 200 with a body. */
export const ok = (body: unknown, headers?: Readonly<Record<string, string>>): HubResponse => ({
  status: 200,
  body,
  ...(headers === undefined ? {} : { headers }),
});
/** An answer without content. */
export const NO_CONTENT: HubResponse = { status: 204 };

/** The request's body; throws ArgumentInvalid unless it is an object. */
export function bodyOf(request: HubRequest): JsonObject {
  if (!isObject(request.body)) throw badRequest("The request body must be a JSON object");
  return request.body;
}

/** A part of the request's path. */
export const part = (request: HubRequest, name: string): string => request.path[name] ?? "";
