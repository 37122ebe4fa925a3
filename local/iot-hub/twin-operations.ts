// The operations on twins, and direct methods.
import type { TwinEntry } from "./device-store.ts";
import { readMethodCall } from "./direct-methods.ts";
import { matches } from "./identity.ts";
import { deviceNotFound, preconditionFailed } from "./iot-hub-error.ts";
import { type TwinState, renderEtag, renderTwin, writeTwin } from "./twin.ts";
import {
  type HubRequest,
  type HubResponse,
  type Operation,
  type OperationsOptions,
  bodyOf,
  ok,
  part,
} from "./operation.ts";

/** Twins of devices and modules, and direct methods. */
export function twinOperations({ devices, clock, methods, identities }: OperationsOptions): Operation[] {
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
