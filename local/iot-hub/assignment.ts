// Decides, for the set of configurations that target a device, which apply to it and what they make of its modules.
import type { Configuration } from "./configuration.ts";
import { type MergedContent, createSectionPool, mergeDeployments } from "./deployment-merge.ts";
import type { ConfigurationStatuses } from "./twin.ts";

/** What happens to the modules of a layered deployment that no longer applies: reports of the service differ. */
export type LayeredRemoval = "remove" | "keep";

/** What a device has of its deployments; one object for all devices with the same. */
export interface Assignment {
  readonly statuses: ConfigurationStatuses;
  /** The base first, then layered deployments from low to high; empty without a base. */
  readonly applied: readonly Configuration[];
  /** Layered deployments that no longer apply but whose properties stay. */
  readonly kept: readonly Configuration[];
  /** Undefined where nothing applies: what is on the device stays. */
  readonly content: MergedContent | undefined;
}

/** Higher priority first; of equal ones the newer. */
export function byRank(a: Configuration, b: Configuration): number {
  return b.settings.priority - a.settings.priority || b.createdMs - a.createdMs || b.instance - a.instance;
}

/** What applies among configurations ordered by rank: the highest base, and the layered ones of strictly higher priority. */
function chooseApplied(targeted: readonly Configuration[]): readonly Configuration[] {
  const base = targeted.find(({ deployment }) => !deployment.layered);
  if (base === undefined) return [];
  const layers = targeted.filter(
    ({ deployment, settings }) => deployment.layered && settings.priority > base.settings.priority,
  );
  return [base, ...layers.toReversed()];
}

/** Makes assignments of the configurations that target a device. */
export interface Assigner {
  /** The assignment of a device that had `before` and is now targeted by these configurations, given by rank. */
  assign(before: Assignment | undefined, targeted: readonly Configuration[]): Assignment;
}

const keyOf = (configurations: readonly Configuration[]): string =>
  configurations.map(({ instance }) => instance).join(",");

/** Creates an assigner that remembers everything it made, so that equal results are identical objects. */
export function createAssigner(layeredRemoval: LayeredRemoval): Assigner {
  const pool = createSectionPool();
  const contents = new Map<string, MergedContent | undefined>();
  const statuses = new Map<string, ConfigurationStatuses>();
  const assignments = new Map<string, Assignment>();

  const mergeOnce = (configurations: readonly Configuration[]): MergedContent | undefined => {
    const key = keyOf(configurations);
    if (!contents.has(key)) {
      const merged = mergeDeployments(configurations.map(({ deployment }) => deployment));
      contents.set(key, merged === undefined ? undefined : pool(merged));
    }
    return contents.get(key);
  };
  const statusesOf = (targeted: readonly Configuration[], applied: readonly Configuration[]): ConfigurationStatuses => {
    const key = targeted
      .map((one) => `${one.instance}${applied.includes(one) ? "A" : ""}`)
      .toSorted()
      .join(",");
    const known = statuses.get(key);
    if (known !== undefined) return known;
    const made = Object.freeze(
      Object.fromEntries(
        targeted.map((one) => [
          one.id,
          Object.freeze({ status: applied.includes(one) ? ("Applied" as const) : ("Targeted" as const) }),
        ]),
      ),
    );
    statuses.set(key, made);
    return made;
  };
  const keepLayers = (before: Assignment | undefined, applied: readonly Configuration[]): readonly Configuration[] => {
    if (layeredRemoval === "remove" || before === undefined || before.applied[0] !== applied[0]) return [];
    return [...before.kept, ...before.applied.slice(1)]
      .filter((one) => !applied.includes(one))
      .toSorted(byRank)
      .toReversed();
  };

  return {
    assign(before, targeted) {
      let applied = chooseApplied(targeted);
      const kept = keepLayers(before, applied);
      let content =
        applied.length === 0 ? undefined : mergeOnce([applied[0] as Configuration, ...kept, ...applied.slice(1)]);
      // Too large for a twin: the service cannot apply it, and the device keeps what it has.
      if (content === undefined) applied = [];
      // Without a base above it, content that is there stays, and so does the memory of what made it.
      if (applied.length === 0) content = undefined;
      const key = `${keyOf(targeted)}|${keyOf(applied)}|${keyOf(kept)}`;
      const known = assignments.get(key);
      if (known !== undefined) return known;
      const made: Assignment = { statuses: statusesOf(targeted, applied), applied, kept, content };
      assignments.set(key, made);
      return made;
    },
  };
}
