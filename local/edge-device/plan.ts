// The plan that turns what a device runs into what it should run: plain data, one group of steps per module.
import type { Deployment, ModuleDefinition } from "./deployment.ts";
import type { ModuleState } from "./module-lifecycle.ts";

/** One step of a group; a group stops at its first failing step, other groups go on. */
type PlanStep = "pull" | "stop" | "remove" | "create" | "start";

/** What happens to one module; `definition` is missing when it only goes away. */
export interface PlanGroup {
  readonly module: string;
  readonly steps: readonly PlanStep[];
  readonly definition?: ModuleDefinition;
}

/** A module as it is. */
export interface CurrentModule {
  readonly definition: ModuleDefinition;
  readonly state: ModuleState;
}

/**
 * Compares and plans: modules no longer wanted go first, then the others in their startup order. A module whose image,
 * options, environment or version changed is replaced, its new image pulled before the old one stops; any other change
 * (restart policy, order) is taken over in place.
 */
export function planDeployment(current: ReadonlyMap<string, CurrentModule>, target: Deployment): PlanGroup[] {
  const wanted = new Set(target.modules.map(({ name }) => name));
  const gone = [...current.keys()].filter((name) => !wanted.has(name)).sort();
  return [
    ...gone.map((module): PlanGroup => ({ module, steps: ["stop", "remove"] })),
    ...target.modules.flatMap((definition): PlanGroup[] => {
      const steps = planModule(current.get(definition.name), definition);
      return steps.length === 0 ? [] : [{ module: definition.name, steps, definition }];
    }),
  ];
}

function planModule(current: CurrentModule | undefined, wanted: ModuleDefinition): PlanStep[] {
  const start: PlanStep[] = wanted.status === "running" ? ["start"] : [];
  if (current === undefined) return ["pull", "create", ...start];
  if (containerKey(current.definition) !== containerKey(wanted)) return ["pull", "stop", "remove", "create", ...start];
  const { runtimeStatus } = current.state;
  if (wanted.status === "stopped") return runtimeStatus === "stopped" ? [] : ["stop"];
  // A module that ended by itself is its restart policy's business.
  return current.definition.status === "stopped" || runtimeStatus === "unknown" ? start : [];
}

const containerKeys = new WeakMap<ModuleDefinition, string>();

/** What cannot change in a container that exists; remembered, because fleets share definitions. */
function containerKey(definition: ModuleDefinition): string {
  const known = containerKeys.get(definition);
  if (known !== undefined) return known;
  const { version, image, createOptions, env, imagePullPolicy } = definition;
  const sorted = Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1));
  const key = JSON.stringify([version, image, createOptions, sorted, imagePullPolicy]);
  containerKeys.set(definition, key);
  return key;
}
