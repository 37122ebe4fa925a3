// The edge agent's reading of its desired properties: a checked deployment, or the code it reports for a bad one.
import { z } from "zod";
import type { DesiredProperties } from "../iot-hub/device-gateway.ts";
import type { RegistryCredential } from "./registry-client.ts";
import type { RestartPolicy } from "./module-lifecycle.ts";

/** What `lastDesiredStatus` says: 200 done, 400 malformed, 412 unknown schema, 417 empty, 500 failed or still pulling. */
export interface DesiredStatus {
  readonly code: 200 | 400 | 412 | 417 | 500;
  readonly description: string;
}

/** Overrides of an image's configuration, parsed from `createOptions`; the rest of Docker's options has no meaning here. */
export interface CreateOptions {
  readonly Entrypoint?: readonly string[] | undefined;
  readonly Cmd?: readonly string[] | undefined;
  readonly Env?: readonly string[] | undefined;
  readonly WorkingDir?: string | undefined;
}

/** One module as desired. */
export interface ModuleDefinition {
  readonly name: string;
  readonly version: string;
  readonly status: "running" | "stopped";
  readonly restartPolicy: RestartPolicy;
  readonly imagePullPolicy: "on-create" | "never";
  readonly startupOrder: number;
  readonly image: string;
  /** The text as desired, its chunks joined. */
  readonly createOptions: string;
  readonly options: CreateOptions;
  readonly env: Readonly<Record<string, string>>;
}

/** A module's container settings; `createOptions01` … may follow. */
interface ContainerSettings {
  readonly image: string;
  readonly createOptions?: string | undefined;
  readonly [chunk: string]: unknown;
}

/** A system module as desired; it is echoed, not pulled. */
export interface SystemModule {
  readonly type: "docker";
  readonly settings: ContainerSettings;
}

/** Everything a device is to run. */
export interface Deployment {
  readonly schemaVersion: string;
  readonly modules: readonly ModuleDefinition[];
  readonly systemModules: Readonly<Record<string, SystemModule>>;
  readonly credentials: readonly RegistryCredential[];
}

const SUPPORTED_SCHEMAS = new Set(["1.0", "1.1"]);
const MAX_STARTUP_ORDER = 0xffff_ffff;

const nameSchema = z.string().regex(/^[a-zA-Z0-9_-]+$/);
const settingsSchema: z.ZodType<ContainerSettings> = z.looseObject({
  image: z.string().min(1),
  createOptions: z.string().optional(),
});
const words: z.ZodType<readonly string[] | undefined> = z
  .union([z.string().transform((word) => [word]), z.array(z.string())])
  .optional();
const optionsSchema: z.ZodType<CreateOptions> = z.object({
  Entrypoint: words,
  Cmd: words,
  Env: z.array(z.string()).optional(),
  WorkingDir: z.string().optional(),
});
const moduleSchema = z.object({
  version: z.string().default(""),
  type: z.literal("docker"),
  status: z.enum(["running", "stopped"]),
  restartPolicy: z.enum(["never", "on-failure", "on-unhealthy", "always"]),
  imagePullPolicy: z.enum(["on-create", "never"]).default("on-create"),
  startupOrder: z.number().int().nonnegative().default(MAX_STARTUP_ORDER),
  env: z.record(z.string(), z.object({ value: z.coerce.string() })).default({}),
  settings: settingsSchema,
});
const systemModuleSchema: z.ZodType<SystemModule> = z.object({ type: z.literal("docker"), settings: settingsSchema });
const credentialSchema: z.ZodType<RegistryCredential> = z.object({
  address: z.string().min(1),
  username: z.string(),
  password: z.string(),
});
const runtimeSettingsSchema = z.object({ registryCredentials: z.record(z.string(), credentialSchema).default({}) });
const deploymentSchema = z.object({
  runtime: z.object({ type: z.literal("docker"), settings: runtimeSettingsSchema }).optional(),
  systemModules: z.record(nameSchema, systemModuleSchema).default({}),
  modules: z.record(nameSchema, moduleSchema).default({}),
});

/** Checks desired properties; a `DesiredStatus` comes back instead of a deployment when they cannot be applied. */
export function parseDeployment(properties: DesiredProperties): Deployment | DesiredStatus {
  const { $version: _version, $metadata: _metadata, schemaVersion, ...content } = properties;
  if (schemaVersion === undefined && Object.keys(content).length === 0) {
    return { code: 417, description: "Empty edge agent config" };
  }
  if (typeof schemaVersion !== "string" || !SUPPORTED_SCHEMAS.has(schemaVersion)) {
    const supported = [...SUPPORTED_SCHEMAS].join(" or ");
    return { code: 412, description: `The schema version ${JSON.stringify(schemaVersion)} is not ${supported}` };
  }
  const parsed = deploymentSchema.safeParse(content);
  if (!parsed.success) return { code: 400, description: z.prettifyError(parsed.error).replaceAll("\n", " ") };
  const { runtime, systemModules, modules } = parsed.data;
  const definitions: ModuleDefinition[] = [];
  for (const [name, { settings, type: _type, env, ...module }] of Object.entries(modules)) {
    const createOptions = joinChunks(settings);
    const options = parseOptions(createOptions);
    if (options === undefined)
      return { code: 400, description: `The createOptions of module ${name} are not valid JSON` };
    const values = Object.fromEntries(Object.entries(env).map(([key, { value }]) => [key, value]));
    definitions.push({ name, ...module, image: settings.image, createOptions, options, env: values });
  }
  definitions.sort((a, b) => a.startupOrder - b.startupOrder || (a.name < b.name ? -1 : 1));
  const credentials = Object.values(runtime?.settings.registryCredentials ?? {});
  return { schemaVersion, modules: definitions, systemModules, credentials };
}

/** `createOptions`, `createOptions01` … `createOptions99`: one text in chunks of 512 characters. */
function joinChunks(settings: Readonly<Record<string, unknown>>): string {
  let text = typeof settings["createOptions"] === "string" ? settings["createOptions"] : "";
  for (let index = 1; index <= 99; index++) {
    const chunk = settings[`createOptions${String(index).padStart(2, "0")}`];
    if (typeof chunk !== "string") break;
    text += chunk;
  }
  return text;
}

function parseOptions(text: string): CreateOptions | undefined {
  if (text.trim() === "") return {};
  try {
    return optionsSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
