// What the edge agent reports: its state in the twin's shape, and the patch from one report to the next.
import type { Deployment, DesiredStatus, ModuleDefinition, SystemModule } from "./deployment.ts";
import type { DevicePlatform } from "./manifest.ts";
import type { ModuleState } from "./module-lifecycle.ts";

/** A JSON object that is never mutated. */
export type ReportedProperties = Readonly<Record<string, unknown>>;

/** Everything a report is made of. */
export interface AgentState {
  readonly lastDesiredVersion: number;
  readonly lastDesiredStatus: DesiredStatus;
  readonly platform: DevicePlatform;
  readonly startedMs: number;
  /** The last deployment that could be read. */
  readonly deployment: Deployment | undefined;
  readonly modules: readonly ReportedModule[];
}

/** A module with the id of the image it runs. */
export interface ReportedModule {
  readonly definition: ModuleDefinition;
  readonly imageHash: string;
  readonly state: ModuleState;
}

/** The hub refuses strings over 4 KB, and messages can carry what a registry sent. */
const DESCRIPTION_LIMIT = 1000;
/** How .NET writes a time that never was. */
const NEVER = "0001-01-01T00:00:00";
const VERSION = "1.5.0";
/** What edgeAgent says of a deployment whose pull goes on; a pending pull looks like a failure. */
export const PENDING: DesiredStatus = { code: 500, description: "The operation was canceled." };
/** What edgeAgent says of a deployment that is in place. */
export const DONE: DesiredStatus = { code: 200, description: "" };

const toTime = (ms: number | undefined): string => (ms === undefined ? NEVER : new Date(ms).toISOString());

/** `createOptions`, `createOptions01` …: the hub takes no value over 4 KB, so the agent splits at 512 characters. */
function splitOptions(text: string): Record<string, string> {
  const chunks = text.match(/[^]{1,512}/g) ?? [""];
  return Object.fromEntries(
    chunks.map((chunk, index) => [
      index === 0 ? "createOptions" : `createOptions${String(index).padStart(2, "0")}`,
      chunk,
    ]),
  );
}

/** The module as the edge agent reports it; `status` echoes the desired state. */
export function reportModule({ definition, imageHash, state }: ReportedModule): ReportedProperties {
  const { version, status, restartPolicy, imagePullPolicy, startupOrder, image, createOptions, env } = definition;
  return {
    type: "docker",
    version,
    status,
    restartPolicy,
    imagePullPolicy,
    startupOrder,
    settings: { image, imageHash, ...splitOptions(createOptions) },
    env: Object.fromEntries(Object.entries(env).map(([key, value]) => [key, { value }])),
    exitCode: state.exitCode,
    statusDescription: state.statusDescription.slice(0, DESCRIPTION_LIMIT),
    restartCount: state.restartCount,
    lastStartTimeUtc: toTime(state.lastStartMs),
    lastExitTimeUtc: toTime(state.lastExitMs),
    runtimeStatus: state.runtimeStatus,
  };
}

/** The status of the last desired properties, its description cut to what the hub takes. */
export function reportStatus({ code, description }: DesiredStatus): ReportedProperties {
  return { code, description: description.slice(0, DESCRIPTION_LIMIT) };
}

function reportSystemModule(module: SystemModule, startedMs: number): ReportedProperties {
  return {
    type: module.type,
    settings: { image: module.settings.image, createOptions: module.settings.createOptions ?? "" },
    exitCode: 0,
    statusDescription: "running",
    restartCount: 0,
    lastStartTimeUtc: toTime(startedMs),
    lastExitTimeUtc: NEVER,
    runtimeStatus: "running",
  };
}

/** The reported properties of `$edgeAgent`; registry credentials are not echoed. */
export function reportAgent(agent: AgentState): ReportedProperties {
  const { platform, deployment, modules } = agent;
  const architectures: Readonly<Record<string, string>> = { amd64: "x86_64", arm64: "aarch64" };
  const architecture = architectures[platform.architecture] ?? platform.architecture;
  const systemModules = Object.entries(deployment?.systemModules ?? {});
  return {
    ...(deployment && { schemaVersion: deployment.schemaVersion }),
    version: { version: VERSION },
    lastDesiredVersion: agent.lastDesiredVersion,
    lastDesiredStatus: reportStatus(agent.lastDesiredStatus),
    runtime: { type: "docker", platform: { os: platform.os, architecture, version: VERSION } },
    systemModules: Object.fromEntries(
      systemModules.map(([name, module]) => [name, reportSystemModule(module, agent.startedMs)]),
    ),
    modules: Object.fromEntries(modules.map((module) => [module.definition.name, reportModule(module)])),
  };
}

function isObject(value: unknown): value is ReportedProperties {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The merge patch that turns `before` into `after` (null deletes), or undefined when they are equal. */
export function diffReported(before: ReportedProperties, after: ReportedProperties): ReportedProperties | undefined {
  const patch: Record<string, unknown> = {};
  for (const key of Object.keys(before)) if (!(key in after)) patch[key] = null;
  for (const [key, value] of Object.entries(after)) {
    const old = before[key];
    if (isObject(value) && isObject(old)) {
      const inner = diffReported(old, value);
      if (inner !== undefined) patch[key] = inner;
    } else if (JSON.stringify(old) !== JSON.stringify(value)) patch[key] = value;
  }
  return Object.keys(patch).length === 0 ? undefined : patch;
}

/** The merge patch that turns both `before` and nothing at all into `after`: everything, and null for what is gone. */
export function restateReported(before: ReportedProperties, after: ReportedProperties): ReportedProperties {
  const patch: Record<string, unknown> = { ...after };
  for (const [key, old] of Object.entries(before)) {
    const value = after[key];
    if (!(key in after)) patch[key] = null;
    else if (isObject(old) && isObject(value)) patch[key] = restateReported(old, value);
  }
  return patch;
}
