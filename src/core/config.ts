// The configuration of a Lighter installation: products, hubs and the tariff.
import type { Tariff } from "./cost/tariff.ts";
import type { DriftPolicy } from "./release/plan-verdict.ts";
import type { RunRules } from "./release/rebase-run.ts";

/** When a stage is good, when it is bad, and how long to look. Percentages are of the devices that the hub targets. */
export interface Gate {
  /** At least this share must run the new image. */
  readonly successPercent: number;
  /** More than this share of failures ends the rollout, if they are at least `minimumFailures`. */
  readonly failurePercent: number;
  readonly minimumFailures: number;
  /** How long success must last before the next ring. */
  readonly bakeMinutes: number;
  readonly timeoutMinutes: number;
  /** `proceed` leaves devices behind that never reported, if those that did meet `successPercent`. */
  readonly onTimeout: "proceed" | "rollback";
}

/** A set of slots that is exposed together, e.g. `canary` with slots `00-04`, and its own gate rules. */
interface Ring {
  readonly name: string;
  readonly slots: string;
  readonly gate?: { readonly [Rule in keyof Gate]?: Gate[Rule] | undefined } | undefined;
}

/** How a product is rolled out. */
export interface RolloutRules {
  readonly hubs: readonly string[];
  /** Which devices at all, as an IoT Hub target condition; `*` = all. */
  readonly targetCondition: string;
  readonly rings: readonly Ring[];
  readonly gate: Gate;
  readonly pollSeconds: number;
}

/** The module that a product's image becomes. */
export interface ModuleRules {
  readonly name: string;
  readonly createOptions: Readonly<Record<string, unknown>>;
  readonly env: Readonly<Record<string, { readonly value: string }>>;
  readonly restartPolicy: "never" | "on-failure" | "on-unhealthy" | "always";
  readonly imagePullPolicy: "on-create" | "never";
  readonly startupOrder?: number | undefined;
}

/** Rebases run by ACR Tasks beside the registry: by Lighter's image, or as a classic build that is then sealed. */
export interface TaskEngineRules {
  readonly kind: "acr-tasks";
  readonly runner: "cmd" | "build";
  /** Lighter's image for the runner `cmd`; default `lighter:latest` in the product's registry. */
  readonly image?: string | undefined;
  /** A pre-created task for the runner `cmd`, which network-restricted registries need. */
  readonly task?: string | undefined;
  readonly agentPool?: string | undefined;
  /** `[system]`, `[caller]` or a client id; registries with permissions by repository let nobody else in. */
  readonly identity?: string | undefined;
  readonly timeoutSeconds?: number | undefined;
  readonly runs: RunRules;
}

/** Where rebases are done: in an activity of the backend, registry to registry, or by ACR Tasks. */
type EngineRules = { readonly kind: "direct" } | TaskEngineRules;

/** A repository, the module it becomes, and its rules. */
export interface Product {
  readonly name: string;
  /** host[:port] as devices and pushers name it. */
  readonly registry: string;
  readonly repository: string;
  /** A regular expression; only pushes of matching tags start a release. */
  readonly tags: string;
  /** `os/architecture[/variant]`. */
  readonly platform: string;
  /** Released images are tagged with this in front of the candidate's tag. */
  readonly targetTagPrefix: string;
  /** Images with more layers are not rebased onto; deltas are then folded onto the first anchor. */
  readonly maxLayers: number;
  /** By class of drift whether a candidate is released, held until it is approved, or rejected. */
  readonly onDrift: DriftPolicy;
  /** A delta that weighs more than this share of the whole update is not worth its layers: the image ships as it is. */
  readonly wholeAbovePercent: number;
  readonly engine: EngineRules;
  readonly module: ModuleRules;
  readonly rollout: RolloutRules;
}

/** How fast devices are given their slots, which happens once in a device's life. */
interface SlotAssignmentRules {
  /** The most devices per second; their share of the hub's quota. */
  readonly devicesPerSecond: number;
}

/** An IoT hub, the band of deployment priorities that Lighter may use there, and its share of the hub's quota. */
export interface Hub {
  readonly name: string;
  /** The app setting that holds a connection string, or a host name to be used with the app's identity. */
  readonly connectionSetting: string;
  readonly priorities: { readonly from: number; readonly to: number };
  readonly slotAssignment: SlotAssignmentRules;
}

/** A validated configuration. */
export interface Config {
  readonly $schema?: string | undefined;
  readonly tariff: Tariff;
  readonly hubs: readonly Hub[];
  readonly products: readonly Product[];
}

/** The gate of a ring: the product's rules with the ring's own on top. */
export function gateOf(rollout: RolloutRules, ringIndex: number): Gate {
  const own = Object.entries(rollout.rings[ringIndex]?.gate ?? {}).filter(([, value]) => value !== undefined);
  return { ...rollout.gate, ...Object.fromEntries(own) };
}
