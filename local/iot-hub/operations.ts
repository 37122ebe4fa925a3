// Every operation of the hub's REST interface: its route, its throttle class, and what it does.
import type { Clock } from "../clock.ts";
import { renderConfiguration, renderConfigurationEtag } from "./configuration.ts";
import { type ConfigurationStore, testConfigurationQueries } from "./configuration-store.ts";
import type { Deployer } from "./deployer.ts";
import { parseDeploymentContent } from "./deployment-content.ts";
import { mergeDeployments } from "./deployment-merge.ts";
import type { DeviceStore, TwinEntry } from "./device-store.ts";
import { type DirectMethods, readMethodCall } from "./direct-methods.ts";
import { type IdentityRegistry, matches, renderDevice, renderModule } from "./identity.ts";
import { IotHubError, badRequest, deviceNotFound, preconditionFailed } from "./iot-hub-error.ts";
import { EMPTY, type Json, type JsonObject, isObject } from "./json.ts";
import type { Jobs } from "./jobs.ts";
import { parseQuery } from "./query-parser.ts";
import { prepareQuery } from "./query-runner.ts";
import type { OperationClass } from "./throttle.ts";
import { type TwinState, renderEtag, renderTwin, writeTwin } from "./twin.ts";

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

export interface Operation {
  /** The name under which calls are counted and faults are ordered. */
  readonly name: string;
  readonly method: "GET" | "PUT" | "PATCH" | "POST" | "DELETE";
  /** The route with `:name` for parts. */
  readonly route: string;
  readonly throttle: OperationClass;
  handle(request: HubRequest): HubResponse | Promise<HubResponse>;
}

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

const ok = (body: unknown, headers?: Readonly<Record<string, string>>): HubResponse => ({
  status: 200,
  body,
  ...(headers === undefined ? {} : { headers }),
});
const NO_CONTENT: HubResponse = { status: 204 };

function bodyOf(request: HubRequest): JsonObject {
  if (!isObject(request.body)) throw badRequest("The request body must be a JSON object");
  return request.body;
}

const part = (request: HubRequest, name: string): string => request.path[name] ?? "";

function configurationOperations({ configurations }: OperationsOptions): Operation[] {
  const one = "/configurations/:id";
  const show = (configuration: Parameters<typeof renderConfiguration>[0]): HubResponse => {
    return ok(renderConfiguration(configuration), { ETag: `"${renderConfigurationEtag(configuration)}"` });
  };
  return [
    {
      name: "configurations.testQueries",
      method: "POST",
      route: "/configurations/testQueries",
      throttle: "configuration",
      handle: (request) => ok(testConfigurationQueries(bodyOf(request))),
    },
    {
      name: "configurations.list",
      method: "GET",
      route: "/configurations",
      throttle: "configuration",
      handle: () => ok(configurations.list().map(renderConfiguration)),
    },
    {
      name: "configurations.put",
      method: "PUT",
      route: one,
      throttle: "configuration",
      handle: (request) => show(configurations.put(part(request, "id"), bodyOf(request), request.header("if-match"))),
    },
    {
      name: "configurations.get",
      method: "GET",
      route: one,
      throttle: "configuration",
      handle: (request) => show(configurations.get(part(request, "id"))),
    },
    {
      name: "configurations.delete",
      method: "DELETE",
      route: one,
      throttle: "configuration",
      handle(request) {
        configurations.remove(part(request, "id"), request.header("if-match"));
        return NO_CONTENT;
      },
    },
  ];
}

function deviceOperations({ identities, devices, deployer }: OperationsOptions): Operation[] {
  const [one, modules, module] = ["/devices/:device", "/devices/:device/modules", "/devices/:device/modules/:module"];
  return [
    {
      name: "devices.list",
      method: "GET",
      route: "/devices",
      throttle: "identity",
      handle({ search }) {
        const top = Math.min(Number(search.get("top") ?? 1_000) || 1_000, 1_000);
        return ok([...devices.devices()].slice(0, top).map(renderDevice));
      },
    },
    {
      name: "devices.bulk",
      method: "POST",
      route: "/devices",
      throttle: "identity",
      handle(request) {
        const result = identities.bulk(request.body ?? null);
        return { status: result.isSuccessful ? 200 : 400, body: result };
      },
    },
    {
      name: "devices.put",
      method: "PUT",
      route: one,
      throttle: "identity",
      handle: (request) =>
        ok(renderDevice(identities.put(part(request, "device"), bodyOf(request), request.header("if-match")))),
    },
    {
      name: "devices.get",
      method: "GET",
      route: one,
      throttle: "identity",
      handle: (request) => ok(renderDevice(identities.find(part(request, "device")))),
    },
    {
      name: "devices.delete",
      method: "DELETE",
      route: one,
      throttle: "identity",
      handle(request) {
        identities.remove(part(request, "device"), request.header("if-match"));
        return NO_CONTENT;
      },
    },
    {
      name: "devices.applyConfigurationContent",
      method: "POST",
      route: "/devices/:device/applyConfigurationContent",
      throttle: "configuration",
      handle(request) {
        const device = identities.find(part(request, "device"));
        if (!device.iotEdge) throw badRequest(`Device ${device.deviceId} is not an Azure IoT Edge device`);
        const content = parseDeploymentContent(bodyOf(request));
        if (content.layered)
          throw new IotHubError(
            400,
            "InvalidConfigurationContent",
            "A single device takes a whole deployment, not a layered one",
          );
        deployer.deploy(device, mergeDeployments([content]), undefined);
        return NO_CONTENT;
      },
    },
    {
      name: "modules.list",
      method: "GET",
      route: modules,
      throttle: "identity",
      handle: (request) =>
        ok(
          identities
            .find(part(request, "device"))
            .modules.filter(({ current }) => current !== undefined)
            .map(renderModule),
        ),
    },
    {
      name: "modules.get",
      method: "GET",
      route: module,
      throttle: "identity",
      handle: (request) => ok(renderModule(identities.findModule(part(request, "device"), part(request, "module")))),
    },
    {
      name: "modules.put",
      method: "PUT",
      route: module,
      throttle: "identity",
      handle: (request) =>
        ok(
          renderModule(
            identities.putModule(part(request, "device"), part(request, "module"), request.header("if-match")),
          ),
        ),
    },
    {
      name: "modules.delete",
      method: "DELETE",
      route: module,
      throttle: "identity",
      handle(request) {
        identities.removeModule(part(request, "device"), part(request, "module"), request.header("if-match"));
        return NO_CONTENT;
      },
    },
    {
      name: "statistics.devices",
      method: "GET",
      route: "/statistics/devices",
      throttle: "identity",
      handle() {
        const disabled = [...devices.devices()].filter(({ status }) => status === "disabled").length;
        return ok({
          totalDeviceCount: devices.count(),
          enabledDeviceCount: devices.count() - disabled,
          disabledDeviceCount: disabled,
        });
      },
    },
  ];
}

function twinOperations({ devices, clock, methods, identities }: OperationsOptions): Operation[] {
  const entryOf = (request: HubRequest): { entry: TwinEntry; twin: TwinState } => {
    const [deviceId, moduleId] = [part(request, "device"), request.path["module"]];
    const device = devices.get(deviceId);
    const entry = device === undefined || moduleId === undefined ? device?.twin : devices.module(device, moduleId);
    // The service has the same code for a missing module's twin.
    if (entry?.current === undefined)
      throw deviceNotFound(moduleId === undefined ? deviceId : `${deviceId}/${moduleId}`);
    return { entry, twin: entry.current };
  };
  const change = (mode: "merge" | "replace") => {
    return (request: HubRequest): HubResponse => {
      const { entry, twin } = entryOf(request);
      const ifMatch = request.header("if-match");
      if (ifMatch !== undefined && !matches(ifMatch, renderEtag(twin.etag))) {
        throw preconditionFailed(`ETag mismatch for the twin of ${part(request, "device")}`);
      }
      const written = writeTwin(twin, bodyOf(request), mode, clock.now());
      devices.write(entry, written);
      return ok(renderTwin(written));
    };
  };
  const invoke = async (request: HubRequest): Promise<HubResponse> => {
    const device = identities.find(part(request, "device"));
    const { status, payload } = await methods.invoke(
      device.deviceId,
      request.path["module"] ?? "",
      readMethodCall(bodyOf(request)),
    );
    return ok({ status, payload });
  };
  return ["", "/modules/:module"].flatMap((below): Operation[] => {
    const [route, prefix] = [`/twins/:device${below}`, below === "" ? "twins" : "moduleTwins"];
    return [
      {
        name: `${prefix}.get`,
        method: "GET",
        route,
        throttle: "twinRead",
        handle: (request) => ok(renderTwin(entryOf(request).twin)),
      },
      { name: `${prefix}.patch`, method: "PATCH", route, throttle: "twinUpdate", handle: change("merge") },
      { name: `${prefix}.put`, method: "PUT", route, throttle: "twinUpdate", handle: change("replace") },
      { name: "methods.invoke", method: "POST", route: `${route}/methods`, throttle: "method", handle: invoke },
    ];
  });
}

function queryOperations({ devices, jobs, pageSize }: OperationsOptions): Operation[] {
  return [
    {
      name: "query",
      method: "POST",
      route: "/devices/query",
      throttle: "query",
      handle(request) {
        const { query: text } = bodyOf(request);
        if (typeof text !== "string") throw badRequest("query is missing");
        const asked = Number(request.header("x-ms-max-item-count") ?? pageSize.preset);
        const limit = Number.isInteger(asked) && asked > 0 ? Math.min(asked, pageSize.most) : pageSize.preset;
        const query = prepareQuery(parseQuery(text), text, devices, () => jobs.rows());
        devices.catchUp();
        const page = query.page({ limit, continuation: request.header("x-ms-continuation") });
        const headers = {
          "x-ms-item-type": page.itemType,
          ...(page.continuation === undefined ? {} : { "x-ms-continuation": page.continuation }),
        };
        return ok(page.items, headers);
      },
    },
  ];
}

function jobOperations({ jobs }: OperationsOptions): Operation[] {
  return [
    {
      name: "jobs.query",
      method: "GET",
      route: "/jobs/v2/query",
      throttle: "job",
      handle: ({ search }) =>
        ok(jobs.list({ type: search.get("jobType") ?? undefined, status: search.get("jobStatus") ?? undefined })),
    },
    {
      name: "jobs.put",
      method: "PUT",
      route: "/jobs/v2/:id",
      throttle: "job",
      handle: (request) => ok(jobs.create(part(request, "id"), bodyOf(request))),
    },
    {
      name: "jobs.get",
      method: "GET",
      route: "/jobs/v2/:id",
      throttle: "job",
      handle: (request) => ok(jobs.get(part(request, "id"))),
    },
    {
      name: "jobs.cancel",
      method: "POST",
      route: "/jobs/v2/:id/cancel",
      throttle: "job",
      handle: (request) => ok(jobs.cancel(part(request, "id"))),
    },
  ];
}

/** Lists all operations; a route that could also match another one comes before it. */
export function listOperations(options: OperationsOptions): Operation[] {
  return [
    ...configurationOperations(options),
    ...queryOperations(options),
    ...deviceOperations(options),
    ...twinOperations(options),
    ...jobOperations(options),
  ].map((operation) => ({
    ...operation,
    handle: (request) =>
      operation.handle({ ...request, body: request.body ?? (operation.method === "GET" ? EMPTY : undefined) }),
  }));
}
