// The hub's configurations as its REST calls see them: created, updated under etags, listed and deleted.
import type { Clock } from "../clock.ts";
import {
  type Configuration,
  checkMetricQuery,
  createConfiguration,
  renderConfigurationEtag,
  updateConfiguration,
} from "./configuration.ts";
import { IotHubError, preconditionFailed } from "./iot-hub-error.ts";
import { type Json, type JsonObject, isObject } from "./json.ts";
import { parseTargetCondition } from "./target-condition.ts";

/** The configurations by id. */
export interface ConfigurationStore {
  /** Creates without If-Match, updates with it; the quotes around an etag are part of it. */
  put(id: string, body: JsonObject, ifMatch: string | undefined): Configuration;
  /** The configuration; throws ConfigurationNotFound. */
  get(id: string): Configuration;
  list(): Configuration[];
  remove(id: string, ifMatch: string | undefined): void;
}

/** What a store of configurations needs, and whom it tells about changes. */
export interface ConfigurationStoreOptions {
  readonly clock: Clock;
  /** How many configurations the hub holds at most. */
  readonly limit: number;
  /** What an update with other content does: the documented error, or the silence that has been observed. */
  readonly changedContent: "reject" | "ignore";
  changed(configuration: Configuration): void;
  removed(configuration: Configuration): void;
}

/** Creates an empty store. */
export function createConfigurationStore(options: ConfigurationStoreOptions): ConfigurationStore {
  const configurations = new Map<string, Configuration>();
  let instances = 0;

  const checkEtag = (configuration: Configuration, ifMatch: string): void => {
    if (ifMatch !== "*" && ifMatch !== '"*"' && ifMatch !== `"${renderConfigurationEtag(configuration)}"`) {
      throw preconditionFailed(`ETag mismatch for configuration ${configuration.id}`);
    }
  };
  const create = (id: string, body: JsonObject): Configuration => {
    const configuration = createConfiguration(id, body, instances + 1, options.clock.now());
    if (configurations.size >= options.limit) {
      throw new IotHubError(
        413,
        "ConfigurationCountLimitExceeded",
        `The hub holds ${options.limit} configurations, which is its limit`,
      );
    }
    instances += 1;
    configurations.set(id, configuration);
    return configuration;
  };
  const get = (id: string): Configuration => {
    const configuration = configurations.get(id);
    if (configuration === undefined)
      throw new IotHubError(404, "ConfigurationNotFound", `Configuration ${id} was not found`);
    return configuration;
  };

  return {
    put(id, body, ifMatch) {
      const existing = configurations.get(id);
      if (ifMatch === undefined && existing !== undefined) {
        throw new IotHubError(409, "ConfigurationAlreadyExists", `Configuration ${id} already exists`);
      }
      if (ifMatch === undefined) {
        const created = create(id, body);
        options.changed(created);
        return created;
      }
      const configuration = get(id);
      checkEtag(configuration, ifMatch);
      updateConfiguration(configuration, body, options.clock.now(), options.changedContent);
      options.changed(configuration);
      return configuration;
    },
    get,
    list: () => [...configurations.values()],
    remove(id, ifMatch) {
      const configuration = get(id);
      if (ifMatch !== undefined) checkEtag(configuration, ifMatch);
      configurations.delete(id);
      options.removed(configuration);
    },
  };
}

/** Answers `testQueries`: an error per text that the service would refuse, nothing for the others. */
export function testConfigurationQueries(body: JsonObject): JsonObject {
  const { targetCondition, customMetricQueries } = body;
  const answer: Record<string, Json> = {};
  const collect = (action: () => void): string | undefined => {
    try {
      action();
      return undefined;
    } catch (error) {
      if (error instanceof IotHubError) return error.text;
      throw error;
    }
  };
  const targetConditionError = collect(() =>
    parseTargetCondition(typeof targetCondition === "string" ? targetCondition : ""),
  );
  if (targetConditionError !== undefined) answer["targetConditionError"] = targetConditionError;
  const errors: Record<string, string> = {};
  for (const [name, query] of Object.entries(isObject(customMetricQueries) ? customMetricQueries : {})) {
    const error = collect(() => checkMetricQuery(name, query));
    if (error !== undefined) errors[name] = error;
  }
  if (Object.keys(errors).length > 0) answer["customMetricQueryErrors"] = errors;
  return answer;
}
