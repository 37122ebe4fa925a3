// Composes the IoT Hub configuration of a release: a layered deployment of one module, with the metrics its gates read.
import type { ModuleRules } from "../config.ts";
import { LighterError } from "../errors.ts";

/** `createOptions` is a string of JSON that the service wants in pieces of at most this many characters. */
const CREATE_OPTIONS_CHUNK = 512;
/** `createOptions`, then `createOptions01` to `createOptions99`. */
const MAX_CREATE_OPTIONS_CHUNKS = 100;

/** One module as `$edgeAgent` wants it (IoT Edge deployment manifest, schema 1.1). */
export interface ModuleContent {
  readonly type: "docker";
  readonly status: "running" | "stopped";
  readonly restartPolicy: ModuleRules["restartPolicy"];
  readonly imagePullPolicy: ModuleRules["imagePullPolicy"];
  readonly startupOrder?: number;
  readonly env: Readonly<Record<string, { readonly value: string }>>;
  readonly settings: Readonly<Record<string, string>>;
}

/** What Lighter asks the hub to deploy; `id`, `content` and `metrics` never change once it exists. */
export interface Deployment {
  readonly id: string;
  readonly priority: number;
  readonly targetCondition: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly content: { readonly modulesContent: Readonly<Record<string, Readonly<Record<string, unknown>>>> };
  readonly metrics: { readonly queries: Readonly<Record<string, string>> };
}

function chunkCreateOptions(options: Readonly<Record<string, unknown>>): Record<string, string> {
  const text = JSON.stringify(options);
  const chunks = text.match(new RegExp(`[^]{1,${CREATE_OPTIONS_CHUNK}}`, "g")) ?? [];
  if (chunks.length > MAX_CREATE_OPTIONS_CHUNKS) {
    throw new LighterError("CREATE_OPTIONS_TOO_LONG", {
      operation: "compose module",
      subject: "createOptions",
      got: `${text.length} characters`,
      want: `at most ${CREATE_OPTIONS_CHUNK * MAX_CREATE_OPTIONS_CHUNKS}`,
    });
  }
  return Object.fromEntries(
    chunks.map((chunk, index) => [`createOptions${index === 0 ? "" : String(index).padStart(2, "0")}`, chunk]),
  );
}

/** The module that runs `image` (by `tag@digest`) under the product's rules. */
export function composeModule(rules: ModuleRules, image: string): ModuleContent {
  return {
    type: "docker",
    status: "running",
    restartPolicy: rules.restartPolicy,
    imagePullPolicy: rules.imagePullPolicy,
    ...(rules.startupOrder === undefined ? {} : { startupOrder: rules.startupOrder }),
    env: rules.env,
    settings: { image, ...chunkCreateOptions(rules.createOptions) },
  };
}

/** Quotes a value for the hub's query language. */
const quote = (value: string): string => `'${value.replaceAll("'", "''")}'`;

/** Devices on which this deployment is applied to `$edgeAgent`. */
function appliedTo(id: string): string {
  return `SELECT deviceId FROM devices.modules WHERE moduleId = '$edgeAgent' AND configurations.[[${id}]].status = 'Applied'`;
}

const FINISHED = "properties.desired.$version = properties.reported.lastDesiredVersion";

/**
 * The two metrics of a release. The service's own "success" says only that the agent finished its plan, so `running`
 * also asks for the module's image and state; `failed` counts crashed modules and refused manifests but never code 500,
 * which a pull in progress shows too.
 */
function composeMetrics(id: string, moduleName: string, module: ModuleContent): Record<string, string> {
  const reported = `properties.reported.modules.${moduleName}`;
  const image = `${reported}.settings.image = ${quote(module.settings["image"] ?? "")}`;
  const wanted = module.status === "stopped" ? ["stopped", "failed", "dead"] : ["running"];
  const good = wanted.map((status) => `${reported}.runtimeStatus = '${status}'`).join(" OR ");
  const crashed = ["backoff", "failed", "unhealthy", "dead"]
    .map((status) => `${reported}.runtimeStatus = '${status}'`)
    .join(" OR ");
  const refused = [400, 412, 417].map((code) => `properties.reported.lastDesiredStatus.code = ${code}`).join(" OR ");
  return {
    running: `${appliedTo(id)} AND ${FINISHED} AND properties.reported.lastDesiredStatus.code = 200 AND ${image} AND (${good})`,
    failed:
      module.status === "stopped"
        ? `${appliedTo(id)} AND ${FINISHED} AND (${refused})`
        : `${appliedTo(id)} AND ((${image} AND (${crashed})) OR (${FINISHED} AND (${refused})))`,
  };
}

/** What `composeDeployment` needs to know. */
export interface DeploymentFacts {
  readonly id: string;
  readonly priority: number;
  readonly targetCondition: string;
  readonly product: string;
  readonly releaseId: string;
  readonly moduleName: string;
  readonly module: ModuleContent;
}

/** The layered deployment of one module: a single dotted key of `$edgeAgent` above the devices' base deployment. */
export function composeDeployment(facts: DeploymentFacts): Deployment {
  return {
    id: facts.id,
    priority: facts.priority,
    targetCondition: facts.targetCondition,
    labels: { createdBy: "lighter", product: facts.product, release: facts.releaseId },
    content: {
      modulesContent: { $edgeAgent: { [`properties.desired.modules.${facts.moduleName}`]: facts.module } },
    },
    metrics: { queries: composeMetrics(facts.id, facts.moduleName, facts.module) },
  };
}
