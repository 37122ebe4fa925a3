// The content of deployments: what the service accepts in `modulesContent`, base or layered, and how it is taken apart.
import { z } from "zod";
import { IotHubError } from "./iot-hub-error.ts";
import { type Json, type JsonObject, isObject, sizeOf } from "./json.ts";

/** One desired property that a deployment sets: the path below `properties.desired` (empty for all of it) and its value. */
interface DesiredEntry {
  readonly moduleId: string;
  readonly path: readonly string[];
  readonly value: JsonObject | Json;
}

/** A checked deployment. Layered ones set single properties by dotted keys and need a base beneath them. */
export interface DeploymentContent {
  readonly layered: boolean;
  readonly entries: readonly DesiredEntry[];
}

const MAX_MODULES = 50;
const MAX_SECTION_BYTES = 32 * 1024;
const MAX_CHUNK = 512;
const MODULE_NAME = /^[a-zA-Z0-9_-]{1,128}$/;
const DESIRED = "properties.desired";
const ROUTE =
  /^\s*FROM\s+\/\S*(\s+WHERE\s+\S[\s\S]*)?\s+INTO\s+(\$upstream|BrokeredEndpoint\(\s*"\/modules\/[^/"]+\/inputs\/[^/"]+"\s*\))\s*$/i;

const chunk = z.string().max(MAX_CHUNK, `createOptions must be split into chunks of ${MAX_CHUNK} characters`);
const settings = z.looseObject({ image: z.string().min(1) }).superRefine((value, context) => {
  for (const [key, text] of Object.entries(value)) {
    if (!key.startsWith("createOptions")) continue;
    if (!/^createOptions([0-9]{2})?$/.test(key) || key === "createOptions00")
      context.addIssue(`${key} is not createOptions, createOptions01 … createOptions99`);
    const checked = chunk.safeParse(text);
    if (!checked.success) context.addIssue(`${key}: ${checked.error.issues[0]?.message}`);
  }
});
const environment = z.record(z.string(), z.looseObject({ value: z.union([z.string(), z.number(), z.boolean()]) }));
const pullPolicy = z.enum(["on-create", "never"]);
const restartPolicy = z.enum(["never", "on-failure", "on-unhealthy", "always"]);
const status = z.enum(["running", "stopped"]);
const startupOrder = z.int().min(0).max(4_294_967_295);
const type = z.literal("docker");

const moduleSchema = z.looseObject({
  version: z.string().optional(),
  type,
  status,
  restartPolicy,
  settings,
  env: environment.optional(),
  imagePullPolicy: pullPolicy.optional(),
  startupOrder: startupOrder.optional(),
});
const agentSchema = z.looseObject({
  type,
  settings,
  env: environment.optional(),
  imagePullPolicy: pullPolicy.optional(),
});
const credentialSchema = z.looseObject({ address: z.string().min(1), username: z.string(), password: z.string() });
const edgeAgentSchema = z.looseObject({
  schemaVersion: z.enum(["1.0", "1.1"]),
  runtime: z.looseObject({
    type,
    settings: z.looseObject({ registryCredentials: z.record(z.string(), credentialSchema).optional() }).optional(),
  }),
  systemModules: z.looseObject({ edgeAgent: agentSchema, edgeHub: moduleSchema }),
  modules: z.record(z.string().regex(MODULE_NAME), moduleSchema).optional(),
});
const routeText = z.string().regex(ROUTE, "is not FROM <source> [WHERE <condition>] INTO <sink>");
const routeSchema = z.union([
  routeText,
  z.looseObject({
    route: routeText,
    priority: z.int().min(0).max(9).optional(),
    timeToLiveSecs: z.int().min(0).optional(),
  }),
]);
const edgeHubSchema = z.looseObject({
  schemaVersion: z.enum(["1.0", "1.1", "1.2", "1.3"]),
  routes: z.record(z.string(), routeSchema).optional(),
  storeAndForwardConfiguration: z.looseObject({ timeToLiveSecs: z.int().min(0) }).optional(),
});

const invalid = (text: string): IotHubError => new IotHubError(400, "InvalidConfigurationContent", text);

function check(schema: z.ZodType, value: unknown, where: string): void {
  const result = schema.safeParse(value);
  if (result.success) return;
  const issue = result.error.issues[0];
  throw invalid(`${[where, ...(issue?.path ?? [])].join(".")}: ${issue?.message ?? "is not valid"}`);
}

/** Checks a property that a layered deployment sets, as far as its path says what it is. */
function checkEntry({ moduleId, path, value }: DesiredEntry): void {
  const where = [moduleId, DESIRED, ...path].join(".");
  if (path.some((segment) => segment === "")) throw invalid(`${where}: a dotted key has an empty segment`);
  const [first, second] = path;
  if (moduleId === "$edgeAgent" && first === "modules") {
    if (second === undefined || !MODULE_NAME.test(second))
      throw invalid(`${where}: a module's name is missing or not valid`);
    if (path.length === 2) check(moduleSchema, value, where);
  }
  if (moduleId === "$edgeAgent" && path.length === 4 && path[2] === "registryCredentials")
    check(credentialSchema, value, where);
  if (moduleId === "$edgeHub" && first === "routes" && path.length === 2) check(routeSchema, value, where);
}

function readModule(moduleId: string, section: Json | undefined): DesiredEntry[] {
  if (!isObject(section)) throw invalid(`${moduleId}: must be an object`);
  if (moduleId !== "$edgeAgent" && moduleId !== "$edgeHub" && !MODULE_NAME.test(moduleId))
    throw invalid(`${moduleId}: is not a module's name`);
  if (sizeOf(section) > MAX_SECTION_BYTES)
    throw invalid(`${moduleId}: desired properties are larger than ${MAX_SECTION_BYTES} bytes`);
  return Object.entries(section).map(([key, value]) => {
    if (key === DESIRED) {
      if (!isObject(value)) throw invalid(`${moduleId}.${key}: must be an object`);
      return { moduleId, path: [], value };
    }
    if (!key.startsWith(`${DESIRED}.`))
      throw invalid(`${moduleId}.${key}: must be ${DESIRED} or begin with ${DESIRED}.`);
    return { moduleId, path: key.slice(DESIRED.length + 1).split("."), value };
  });
}

function countModules(entries: readonly DesiredEntry[]): number {
  const names = new Set<string>();
  for (const { moduleId, path, value } of entries) {
    if (moduleId !== "$edgeAgent") continue;
    const modules = path.length === 0 && isObject(value) ? value["modules"] : undefined;
    if (isObject(modules)) Object.keys(modules).forEach((name) => names.add(name));
    if (path[0] === "modules" && path[1] !== undefined) names.add(path[1]);
  }
  return names.size;
}

/**
 * Checks the `content` of a deployment against the schemas of `$edgeAgent` (up to 1.1) and `$edgeHub`, the limits of
 * 50 modules, 32 KB per module twin and 512 characters per chunk of createOptions, and the rule that dotted keys make
 * a layered deployment.
 * @throws IotHubError InvalidConfigurationContent, naming the property
 */
export function parseDeploymentContent(content: unknown): DeploymentContent {
  if (!isObject(content)) throw invalid("content is missing");
  if ("deviceContent" in content || "moduleContent" in content) throw invalid("only modulesContent is supported");
  const modules = content["modulesContent"];
  if (!isObject(modules)) throw invalid("content.modulesContent is missing");
  if (!("$edgeAgent" in modules)) throw invalid("modulesContent must contain $edgeAgent");
  const entries = Object.entries(modules).flatMap(([moduleId, section]) => readModule(moduleId, section));
  const dotted = entries.filter(({ path }) => path.length > 0);
  const layered = !entries.some(({ moduleId, path }) => moduleId === "$edgeAgent" && path.length === 0);
  if (!layered && dotted[0] !== undefined) {
    throw invalid(
      `${dotted[0].moduleId}: dotted keys are for layered deployments, but $edgeAgent sets ${DESIRED} as a whole`,
    );
  }
  if (layered && entries.some(({ moduleId, path }) => moduleId === "$edgeHub" && path.length === 0)) {
    throw invalid(`$edgeHub: a layered deployment cannot set ${DESIRED} as a whole`);
  }
  const count = countModules(entries);
  if (count > MAX_MODULES) throw invalid(`$edgeAgent: ${count} modules, at most ${MAX_MODULES} are allowed`);
  for (const entry of entries) {
    if (entry.path.length > 0) checkEntry(entry);
    else if (entry.moduleId === "$edgeAgent") check(edgeAgentSchema, entry.value, `$edgeAgent.${DESIRED}`);
    else if (entry.moduleId === "$edgeHub") check(edgeHubSchema, entry.value, `$edgeHub.${DESIRED}`);
  }
  return { layered, entries };
}
