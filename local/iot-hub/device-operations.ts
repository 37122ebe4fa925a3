// The operations on identities and single devices.
import { parseDeploymentContent } from "./deployment-content.ts";
import { mergeDeployments } from "./deployment-merge.ts";
import { renderDevice, renderModule } from "./identity.ts";
import { IotHubError, badRequest } from "./iot-hub-error.ts";
import { NO_CONTENT, type Operation, type OperationsOptions, bodyOf, ok, part } from "./operation.ts";

/** Device and module identities, one by one and in bulk, and deployments to single devices. */
export function deviceOperations({ identities, devices, deployer }: OperationsOptions): Operation[] {
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
