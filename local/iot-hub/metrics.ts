// Counts, at an evaluation, what the metrics of configurations will say: from the lagging index, and shown later still.
import type { Configuration, MetricResults, SystemMetric } from "./configuration.ts";
import type { DeviceStore } from "./device-store.ts";
import { type Expression, compileSelector } from "./expression.ts";
import { type Query, isAggregated } from "./query.ts";
import { parseQuery } from "./query-parser.ts";
import { type JobRows, prepareQuery } from "./query-runner.ts";
import { readPath, readerOfTwin } from "./twin-reader.ts";
import type { ConfigurationStatuses, TwinState } from "./twin.ts";

const CODE: readonly string[] = ["lastDesiredStatus", "code"];

/** The agents' twins that share their configurations' statuses. */
interface AgentGroup {
  readonly twins: TwinState[];
  succeeded: number;
  failed: number;
}

type AgentGroups = ReadonlyMap<ConfigurationStatuses, AgentGroup>;

function addTwin(group: AgentGroup, twin: TwinState): void {
  group.twins.push(twin);
  const { desired, reported } = twin;
  if (reported.content["lastDesiredVersion"] !== desired.version) return;
  const code = readPath(reported.content, CODE);
  if (code === 200) group.succeeded += 1;
  else if (typeof code === "number") group.failed += 1;
}

/** One pass over all devices. */
function groupAgents(devices: DeviceStore): AgentGroups {
  const groups = new Map<ConfigurationStatuses, AgentGroup>();
  for (const device of devices.places()) {
    for (const { moduleId, indexed } of device?.modules ?? []) {
      if (moduleId !== "$edgeAgent" || indexed === undefined) continue;
      let group = groups.get(indexed.configurations);
      if (group === undefined) groups.set(indexed.configurations, (group = { twins: [], succeeded: 0, failed: 0 }));
      addTwin(group, indexed);
    }
  }
  return groups;
}

function isEquality(expression: Expression, path: readonly (string | undefined)[], value: string): boolean {
  if (expression.kind !== "compare" || expression.operator !== "=") return false;
  const { left, right } = expression;
  if (left.kind !== "path" || right.kind !== "value" || right.value !== value) return false;
  return left.path.length === path.length && path.every((key, index) => key === undefined || key === left.path[index]);
}

/** The configuration that a query's rows must have applied on `$edgeAgent`, when it says so in its top-level AND. */
function findAppliedId({ source, where, top, ...query }: Query): string | undefined {
  if (source !== "devices.modules" || where?.kind !== "and" || top !== undefined) return undefined;
  if (isAggregated({ ...query, source, where, top })) return undefined;
  if (!where.parts.some((part) => isEquality(part, ["moduleId"], "$edgeAgent"))) return undefined;
  const applied = where.parts.find((part) => isEquality(part, ["configurations", undefined, "status"], "Applied"));
  return applied?.kind === "compare" && applied.left.kind === "path" ? applied.left.path[1] : undefined;
}

/** Counts a custom metric's rows; one about an applied configuration looks only at the twins that have it. */
function countRows(text: string, groups: AgentGroups, devices: DeviceStore, jobs: JobRows): number {
  const query = parseQuery(text);
  const id = findAppliedId(query);
  if (id === undefined || query.where === undefined) return prepareQuery(query, text, devices, jobs).countRows();
  const selects = compileSelector(query.where, readerOfTwin);
  let rows = 0;
  for (const [statuses, { twins }] of groups) {
    if (statuses[id]?.status !== "Applied") continue;
    for (const twin of twins) if (selects(twin)) rows += 1;
  }
  return rows;
}

function countSystem(id: string, targetedCount: number, groups: AgentGroups): Record<SystemMetric, number> {
  const counts = { targetedCount, appliedCount: 0, reportedSuccessfulCount: 0, reportedFailedCount: 0 };
  for (const [statuses, { twins, succeeded, failed }] of groups) {
    if (statuses[id]?.status !== "Applied") continue;
    counts.appliedCount += twins.length;
    counts.reportedSuccessfulCount += succeeded;
    counts.reportedFailedCount += failed;
  }
  return counts;
}

/** The metrics of the given configurations now; `countTargets` gives each one's number of targeted devices. */
export function computeMetrics(
  configurations: readonly Configuration[],
  countTargets: (configuration: Configuration) => number,
  devices: DeviceStore,
  jobs: JobRows,
): Map<Configuration, MetricResults> {
  devices.catchUp();
  const groups = groupAgents(devices);
  return new Map(
    configurations.map((configuration) => {
      const custom: Record<string, number> = {};
      for (const [name, text] of Object.entries(configuration.settings.metrics)) {
        custom[name] = countRows(text, groups, devices, jobs);
      }
      return [configuration, { system: countSystem(configuration.id, countTargets(configuration), groups), custom }];
    }),
  );
}
