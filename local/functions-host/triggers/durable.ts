// Durable triggers: orchestrations, activities and entities, their webhook, and the data of `durableClient`.
import { randomBytes, randomUUID } from "node:crypto";
import type { RpcTypedData } from "../core-api.ts";
import { createEngine } from "../durable/engine.ts";
import { clientBindingData } from "../durable/links.ts";
import type { LinkOptions } from "../durable/links.ts";
import { createManagementApi } from "../durable/management-api.ts";
import { messageOf } from "../errors.ts";
import type { HttpHandler } from "../http/exchange.ts";
import { resolveSetting } from "../settings.ts";
import type { RunningTrigger, TriggerHost, TriggerKind } from "./trigger.ts";

/** The trigger kind together with the input binding that it provides. */
export interface DurableTrigger extends TriggerKind {
  /** Data of the bindings `durableClient` and `orchestrationClient`. */
  clientInput(): RpcTypedData;
  /** The path under which the app's own process calls without a key; it holds a secret of this run. */
  readonly rpcPath: string;
  /** Serves what comes under `rpcPath`. */
  handleRpc: HttpHandler;
}

const WEBHOOK_PATH = "/runtime/webhooks/durabletask/";

/** Creates the trigger kind; one per host. */
export function createDurableTrigger(): DurableTrigger {
  const rpcPath = `/runtime/rpc/${randomBytes(16).toString("hex")}/durabletask/`;
  let api: ((path: string) => HttpHandler) | undefined;
  let links: (() => LinkOptions) | undefined;
  const serve =
    (base: string): HttpHandler =>
    (exchange) =>
      api?.(exchange.url.pathname.slice(base.length))(exchange);

  return {
    types: ["orchestrationtrigger", "activitytrigger", "entitytrigger"],
    rpcPath,
    handleRpc: serve(rpcPath),
    clientInput: () => ({ string: links === undefined ? "{}" : clientBindingData(links()) }),
    prepare(host): RunningTrigger {
      const engine = createEngine({
        storage: host.storage,
        clock: host.clock,
        warnings: host.warnings,
        functions: host.functions,
        settings: host.hostJson.extensions.durableTask,
        invoke: host.invoke,
        newId: () => randomUUID().replaceAll("-", ""),
        failed: (what, error) =>
          host.log({
            level: "error",
            category: "host",
            message: `durable work on ${what} failed: ${messageOf(error)}`,
          }),
      });
      links = () => describeLinks(host, rpcPath);
      api = createManagementApi({ engine, links });
      return {
        webhook: { name: "durabletask", handle: serve(WEBHOOK_PATH) },
        start: () => engine.start(),
        stop: () => engine.stop(),
      };
    },
  };
}

function describeLinks({ hostJson, keys, settings, url }: TriggerHost, rpcPath: string): LinkOptions {
  const { hubName } = hostJson.extensions.durableTask;
  const name = settings["WEBSITE_HOSTNAME"];
  const isLocal = name === undefined || /^(localhost|127\.|0\.0\.0\.0|\[::1\])/.test(name);
  const origin = name === undefined ? url : `${isLocal ? "http" : "https"}://${name}`;
  return {
    baseUrl: `${origin}/runtime/webhooks/durabletask`,
    rpcBaseUrl: `${url}${rpcPath}`,
    taskHub: resolveSetting(hubName, settings, "durableTask.hubName"),
    key: keys.system["durabletask_extension"] ?? "",
  };
}
