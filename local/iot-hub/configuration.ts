// A configuration (deployment) as the hub holds it, how a request becomes one, and how the service shows it.
import { isDeepStrictEqual } from "node:util";
import { type DeploymentContent, parseDeploymentContent } from "./deployment-content.ts";
import { compileSelector } from "./expression.ts";
import { IotHubError, badRequest } from "./iot-hub-error.ts";
import { EMPTY, type Json, type JsonObject, isObject } from "./json.ts";
import { parseQuery } from "./query-parser.ts";
import { type TargetCondition, parseTargetCondition } from "./target-condition.ts";
import { readerOfTwin } from "./twin-reader.ts";
import type { TwinState } from "./twin.ts";

/** What may change after creation. */
interface ConfigurationSettings {
  readonly schemaVersion: string | null;
  readonly labels: JsonObject;
  readonly priority: number;
  readonly targetCondition: string;
  readonly targets: (twin: TwinState) => boolean;
  /** Custom metrics: queries by name, at most five. */
  readonly metrics: Readonly<Record<string, string>>;
}

/** The counts of one evaluation, by name. */
export interface MetricResults {
  readonly system: Readonly<Record<SystemMetric, number>>;
  readonly custom: Readonly<Record<string, number>>;
}

/** The metrics that every deployment has. */
export type SystemMetric = "targetedCount" | "appliedCount" | "reportedSuccessfulCount" | "reportedFailedCount";

/** A configuration as the hub holds it; its content never changes. */
export interface Configuration {
  readonly id: string;
  /** Tells apart configurations that had the same id one after another; a newer one is larger. */
  readonly instance: number;
  readonly content: JsonObject;
  readonly deployment: DeploymentContent;
  readonly createdMs: number;
  settings: ConfigurationSettings;
  updatedMs: number;
  etag: number;
  results: MetricResults;
}

const ID = /^[a-z0-9\-+%_*!']{1,128}$/;
const MAX_METRICS = 5;
const NO_RESULTS: MetricResults = {
  system: { targetedCount: 0, appliedCount: 0, reportedSuccessfulCount: 0, reportedFailedCount: 0 },
  custom: {},
};

function compileTargets(condition: TargetCondition): (twin: TwinState) => boolean {
  if (condition.kind !== "expression") return () => condition.kind === "all";
  return compileSelector(condition.expression, readerOfTwin);
}

/** Checks a metric query; throws IotHubError InvalidConfigurationCustomMetricsQuery. */
export function checkMetricQuery(name: string, query: unknown): string {
  const refuse = (text: string): IotHubError =>
    new IotHubError(400, "InvalidConfigurationCustomMetricsQuery", `Metric ${name}: ${text}`);
  if (typeof query !== "string") throw refuse("query must be a string");
  try {
    parseQuery(query);
  } catch (error) {
    throw error instanceof IotHubError ? refuse(error.text) : error;
  }
  return query;
}

function readMetrics(body: JsonObject): Record<string, string> {
  const metrics = body["metrics"];
  const queries = isObject(metrics) ? metrics["queries"] : undefined;
  if (!isObject(queries)) return {};
  const entries = Object.entries(queries);
  if (entries.length > MAX_METRICS) {
    throw new IotHubError(
      400,
      "InvalidConfigurationCustomMetricsQuery",
      `${entries.length} custom metrics, at most ${MAX_METRICS} are allowed`,
    );
  }
  return Object.fromEntries(entries.map(([name, query]) => [name, checkMetricQuery(name, query)]));
}

function readLabels(labels: Json | undefined): JsonObject {
  if (labels === undefined || labels === null) return EMPTY;
  if (!isObject(labels) || Object.values(labels).some((value) => typeof value !== "string"))
    throw badRequest("labels must be an object of strings");
  return labels;
}

function readSettings(body: JsonObject): ConfigurationSettings {
  const { priority = 0, targetCondition = "", schemaVersion = null } = body;
  if (typeof priority !== "number" || !Number.isInteger(priority) || priority < 0 || priority > 2_147_483_647) {
    throw badRequest("priority must be an integer from 0 to 2147483647");
  }
  if (targetCondition !== null && typeof targetCondition !== "string")
    throw badRequest("targetCondition must be a string");
  return {
    schemaVersion: typeof schemaVersion === "string" ? schemaVersion : null,
    labels: readLabels(body["labels"]),
    priority,
    targetCondition: targetCondition ?? "",
    targets: compileTargets(parseTargetCondition(targetCondition ?? "")),
    metrics: readMetrics(body),
  };
}

/** Makes a configuration of a request's body; throws IotHubError for what the service would not take. */
export function createConfiguration(id: string, body: JsonObject, instance: number, nowMs: number): Configuration {
  if (!ID.test(id))
    throw badRequest(`Configuration id '${id}' must be 1 to 128 of lower-case letters, digits and -+%_*!'`);
  if (body["id"] !== undefined && body["id"] !== id)
    throw badRequest(`Configuration id ${JSON.stringify(body["id"])} in the body is not ${id}`);
  const settings = readSettings(body);
  const deployment = parseDeploymentContent(body["content"]);
  const content = body["content"] as JsonObject;
  return {
    id,
    instance,
    content,
    deployment,
    createdMs: nowMs,
    settings,
    updatedMs: nowMs,
    etag: 1,
    results: NO_RESULTS,
  };
}

/** Changes what may change; throws CannotModifyImmutableConfigurationContent for other content unless it is to be ignored. */
export function updateConfiguration(
  configuration: Configuration,
  body: JsonObject,
  nowMs: number,
  changedContent: "reject" | "ignore",
): void {
  if (!isObject(body["content"])) throw new IotHubError(400, "InvalidConfigurationContent", "content is missing");
  if (changedContent === "reject" && !isDeepStrictEqual(body["content"], configuration.content)) {
    throw new IotHubError(
      400,
      "CannotModifyImmutableConfigurationContent",
      `Content of configuration ${configuration.id} cannot be updated`,
    );
  }
  configuration.settings = readSettings(body);
  configuration.updatedMs = nowMs;
  configuration.etag += 1;
}

/** The etag without quotes, e.g. `MQ==`. */
export function renderConfigurationEtag({ etag }: Configuration): string {
  return Buffer.from(String(etag)).toString("base64");
}

/** The queries behind the system metrics. */
function systemQueries({ id, settings }: Configuration): Record<SystemMetric, string> {
  const applied = `select deviceId from devices.modules where moduleId = '$edgeAgent' and configurations.[[${id}]].status = 'Applied'`;
  const current = `${applied} and properties.desired.$version = properties.reported.lastDesiredVersion and properties.reported.lastDesiredStatus.code`;
  const condition = settings.targetCondition.trim();
  const narrowed = condition === "*" || condition === "" ? "" : ` and (${condition})`;
  return {
    targetedCount: `select deviceId from devices where capabilities.iotEdge = true${narrowed}`,
    appliedCount: applied,
    reportedSuccessfulCount: `${current} = 200`,
    reportedFailedCount: `${current} != 200`,
  };
}

/** The configuration as the service sends it. */
export function renderConfiguration(configuration: Configuration): JsonObject {
  const { id, settings, results, content, createdMs, updatedMs } = configuration;
  return {
    id,
    schemaVersion: settings.schemaVersion,
    labels: settings.labels,
    content,
    targetCondition: settings.targetCondition,
    createdTimeUtc: new Date(createdMs).toISOString(),
    lastUpdatedTimeUtc: new Date(updatedMs).toISOString(),
    priority: settings.priority,
    systemMetrics: { results: { ...results.system }, queries: systemQueries(configuration) },
    metrics: { results: { ...results.custom }, queries: { ...settings.metrics } },
    etag: renderConfigurationEtag(configuration),
  };
}
