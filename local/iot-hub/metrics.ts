// Counts, at an evaluation, what the metrics of configurations will say: from the lagging index, and shown later still.
import type { Configuration, MetricResults, SystemMetric } from "./configuration.ts";
import type { DeviceStore } from "./device-store.ts";
import { parseQuery } from "./query-parser.ts";
import { type JobRows, prepareQuery } from "./query-runner.ts";
import { readPath } from "./twin-reader.ts";
import type { ConfigurationStatuses, TwinState } from "./twin.ts";

const CODE: readonly string[] = ["lastDesiredStatus", "code"];

interface Tally {
  twins: number;
  succeeded: number;
  failed: number;
}

function countTwin(tally: Tally, { desired, reported }: TwinState): void {
  tally.twins += 1;
  if (reported.content["lastDesiredVersion"] !== desired.version) return;
  const code = readPath(reported.content, CODE);
  if (code === 200) tally.succeeded += 1;
  else if (typeof code === "number") tally.failed += 1;
}

/** One pass over all agents' twins, gathered by the statuses that they share. */
function tallyAgents(devices: DeviceStore): Map<ConfigurationStatuses, Tally> {
  const tallies = new Map<ConfigurationStatuses, Tally>();
  for (const device of devices.places()) {
    for (const { moduleId, indexed } of device?.modules ?? []) {
      if (moduleId !== "$edgeAgent" || indexed === undefined) continue;
      let tally = tallies.get(indexed.configurations);
      if (tally === undefined) tallies.set(indexed.configurations, (tally = { twins: 0, succeeded: 0, failed: 0 }));
      countTwin(tally, indexed);
    }
  }
  return tallies;
}

/** The metrics of the given configurations now; `countTargets` gives each one's number of targeted devices. */
export function computeMetrics(
  configurations: readonly Configuration[],
  countTargets: (configuration: Configuration) => number,
  devices: DeviceStore,
  jobs: JobRows,
): Map<Configuration, MetricResults> {
  devices.catchUp();
  const tallies = tallyAgents(devices);
  return new Map(
    configurations.map((configuration) => {
      const system: Record<SystemMetric, number> = {
        targetedCount: countTargets(configuration),
        appliedCount: 0,
        reportedSuccessfulCount: 0,
        reportedFailedCount: 0,
      };
      for (const [statuses, { twins, succeeded, failed }] of tallies) {
        if (statuses[configuration.id]?.status !== "Applied") continue;
        system.appliedCount += twins;
        system.reportedSuccessfulCount += succeeded;
        system.reportedFailedCount += failed;
      }
      const custom = Object.entries(configuration.settings.metrics).map(([name, text]) => {
        return [name, prepareQuery(parseQuery(text), text, devices, jobs).countRows()] as const;
      });
      return [configuration, { system, custom: Object.fromEntries(custom) }];
    }),
  );
}
