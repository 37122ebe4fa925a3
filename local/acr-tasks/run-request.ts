// What scheduleRun and tasks take: the request bodies of ACR Tasks, checked as the service checks them.
import { z } from "zod";
import { invalidParameter } from "./arm-error.ts";
import type { RunPlatform, RunRequest, TaskDefinition } from "./run-types.ts";

const ARCHITECTURES = ["amd64", "x86", "386", "arm", "arm64"] as const;
const name = z.string().regex(/^[A-Za-z_][\w.-]{0,127}$/);

const settingSchema = z.object({ name, value: z.string(), isSecret: z.boolean().optional() });

const secretSchema = z.object({ value: z.string(), type: z.enum(["Opaque", "Vaultsecret"]) });
const credentialsSchema = z.object({
  sourceRegistry: z
    .object({ loginMode: z.enum(["None", "Default"]).optional(), identity: z.string().min(1).optional() })
    .optional(),
  customRegistries: z
    .record(
      z.string().regex(/^[A-Za-z0-9.-]+(?::\d+)?$/),
      z.object({
        userName: secretSchema.optional(),
        password: secretSchema.optional(),
        identity: z.string().min(1).optional(),
      }),
    )
    .optional(),
});

const platformSchema = z.object({
  os: z.enum(["Linux", "Windows"]),
  architecture: z.enum(ARCHITECTURES).optional(),
  variant: z.enum(["v6", "v7", "v8"]).optional(),
});

const MIN_TIMEOUT = 300;
const MAX_TIMEOUT = 28_800;
const DEFAULT_TIMEOUT = 3_600;
const timeoutSchema = z
  .int()
  .min(MIN_TIMEOUT)
  .max(MAX_TIMEOUT)
  .optional()
  .transform((seconds) => seconds ?? DEFAULT_TIMEOUT);
const base64 = z
  .string()
  .min(1)
  .regex(/^[A-Za-z0-9+/]*={0,2}$/, "is not base64")
  .transform((text) => Buffer.from(text, "base64").toString("utf8"));
const path = z.string().min(1).max(1_024);

const dockerFields = {
  dockerFilePath: path,
  imageNames: z.array(z.string().min(1).max(512)).max(64).optional(),
  isPushEnabled: z.boolean().optional(),
  noCache: z.boolean().optional(),
  target: z.string().optional(),
  arguments: z.array(settingSchema).optional(),
};
const encodedFields = {
  encodedTaskContent: base64,
  encodedValuesContent: base64.optional(),
  values: z.array(settingSchema).optional(),
};
const fileFields = { taskFilePath: path, valuesFilePath: path.optional(), values: z.array(settingSchema).optional() };
const baseFields = {
  isArchiveEnabled: z.boolean().optional(),
  agentPoolName: z.string().min(1).optional(),
  logTemplate: z.string().optional(),
};
const runFields = {
  ...baseFields,
  timeout: timeoutSchema,
  platform: platformSchema,
  agentConfiguration: z.object({ cpu: z.int().min(1).max(32).optional() }).optional(),
  sourceLocation: z.string().optional(),
  credentials: credentialsSchema.optional(),
};

const requestSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("DockerBuildRequest"), ...runFields, ...dockerFields }),
  z.object({ type: z.literal("EncodedTaskRunRequest"), ...runFields, ...encodedFields }),
  z.object({ type: z.literal("FileTaskRunRequest"), ...runFields, ...fileFields }),
  z.object({
    type: z.literal("TaskRunRequest"),
    ...baseFields,
    taskId: z.string().min(1),
    overrideTaskStepProperties: z
      .object({
        contextPath: z.string().optional(),
        file: z.string().optional(),
        target: z.string().optional(),
        arguments: z.array(settingSchema).optional(),
        values: z.array(settingSchema).optional(),
      })
      .optional(),
  }),
]);

const contextFields = { contextPath: z.string().optional() };
const taskSchema = z.object({
  location: z.string().min(1),
  tags: z.record(z.string(), z.string()).optional(),
  identity: z
    .object({
      type: z.enum(["SystemAssigned", "UserAssigned", "SystemAssigned, UserAssigned", "None"]),
      userAssignedIdentities: z.record(z.string(), z.unknown()).optional(),
    })
    .optional(),
  properties: z.object({
    status: z.enum(["Enabled", "Disabled"]).optional(),
    platform: platformSchema,
    agentConfiguration: runFields.agentConfiguration,
    agentPoolName: baseFields.agentPoolName,
    timeout: timeoutSchema,
    credentials: credentialsSchema.optional(),
    isSystemTask: z.boolean().optional(),
    step: z.discriminatedUnion("type", [
      z.object({ type: z.literal("Docker"), ...contextFields, ...dockerFields }),
      z.object({ type: z.literal("EncodedTask"), ...contextFields, ...encodedFields }),
      z.object({ type: z.literal("FileTask"), ...contextFields, ...fileFields }),
    ]),
  }),
});

const REQUEST_TYPES = requestSchema.options.map(({ shape }) => shape.type.value);

function check<T>(schema: z.ZodType<T>, body: unknown, subject: string): T {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const target = [subject, ...(issue?.path ?? []).map(String)].join(".");
  throw invalidParameter(target, `The value of '${target}' is not valid: ${issue?.message ?? "unknown"}.`);
}

/** Checks the body of scheduleRun. @throws ArmError InvalidParameter */
export function parseRunRequest(body: unknown): RunRequest {
  const type = (body as { readonly type?: unknown } | null | undefined)?.type;
  if (!REQUEST_TYPES.some((known) => known === type)) {
    const known = REQUEST_TYPES.join("', '");
    throw invalidParameter("request.type", `The run request type '${String(type)}' is not one of '${known}'.`);
  }
  const request = check(requestSchema, body, "request");
  if (request.type !== "TaskRunRequest") checkPlatform(request.platform, "request.platform");
  return request;
}

/** Checks the body of a task's creation. @throws ArmError InvalidParameter */
export function parseTaskDefinition(body: unknown): TaskDefinition {
  const task = check(taskSchema, body, "task");
  checkPlatform(task.properties.platform, "task.properties.platform");
  return task;
}

function checkPlatform({ os, architecture, variant }: RunPlatform, target: string): void {
  if (os === "Windows") throw invalidParameter(`${target}.os`, "There are no Windows agents in the embedded service.");
  const hasVariants = architecture === "arm" || architecture === "arm64";
  if (variant !== undefined && !hasVariants) {
    throw invalidParameter(`${target}.variant`, `The variant '${variant}' does not fit '${architecture ?? "amd64"}'.`);
  }
}
