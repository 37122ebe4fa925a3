// The operations on configurations.
import { renderConfiguration, renderConfigurationEtag } from "./configuration.ts";
import { testConfigurationQueries } from "./configuration-store.ts";
import { type HubResponse, NO_CONTENT, type Operation, type OperationsOptions, bodyOf, ok, part } from "./operation.ts";

/** Creating, updating, reading and deleting configurations, and testing their queries. */
export function configurationOperations({ configurations }: OperationsOptions): Operation[] {
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
