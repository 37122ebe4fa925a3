// A thin client of the REST API of ACR Tasks: what the published SDK dropped, with the fields that ABAC registries need.
import type { TokenCredential } from "@azure/core-auth";
import { z } from "zod";
import { DEFAULT_RETRY_POLICY, type RetryPolicy } from "../registry/retry.ts";
import { AcrTasksError } from "./acr-tasks-error.ts";
import { createArmHttp, type ArmAnswer, type ArmHttp } from "./arm-http.ts";
import { runSchema, type Run } from "./run.ts";
import type { RunRequest, TaskDefinition } from "./run-request.ts";

/** Where a registry is in Azure. */
interface RegistryResource {
  readonly subscriptionId: string;
  readonly resourceGroup: string;
  readonly registryName: string;
}

/** How the client reaches ARM. */
export interface AcrTasksClientOptions extends RegistryResource {
  /** Default `https://management.azure.com`; plain http is for this machine only. */
  readonly endpoint?: string;
  /** The identity, loaded on first use. */
  readonly credential: () => Promise<TokenCredential>;
  readonly retry?: Partial<RetryPolicy>;
}

/** A pre-created task; `principalId` is that of its system-assigned identity. */
export interface Task {
  readonly id: string;
  readonly principalId: string | undefined;
}

/** The calls that Lighter needs. All throw AcrTasksError. */
export interface AcrTasksClient {
  /** Uploads a context (tar.gz) and returns the `sourceLocation` of requests that use it. */
  uploadContext(archive: Uint8Array): Promise<string>;
  /**
   * Asks for a run. Repeated after a broken connection, it may be started twice: what runs here gives the same image
   * however often it is done.
   */
  scheduleRun(request: RunRequest): Promise<Run>;
  getRun(runId: string): Promise<Run>;
  /** Ends a run that is not over. */
  cancelRun(runId: string): Promise<void>;
  /** A link to the log, with a signature that expires. */
  getLogLink(runId: string): Promise<string>;
  putTask(name: string, task: TaskDefinition): Promise<Task>;
  getTask(name: string): Promise<Task>;
  /** Sends to a link that the service handed out. */
  readonly blobs: Pick<ArmHttp, "sendToBlob">;
  readonly retry: RetryPolicy;
}

const API_VERSION = "2025-03-01-preview";
const PUBLIC_ENDPOINT = "https://management.azure.com";

const SUBSCRIPTION = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const RESOURCE_GROUP = /^[\w().-]{1,90}$/;
const REGISTRY = /^[a-z0-9]{1,50}$/i;
const NAME = /^[\w-]{1,50}$/;

const uploadSchema = z.object({ uploadUrl: z.url(), relativePath: z.string().min(1) });
const logSchema = z.object({ logLink: z.url() });
const taskSchema = z.object({
  id: z.string(),
  identity: z.object({ principalId: z.string().nullish() }).nullish(),
});

/** Creates the client. @throws AcrTasksError SETTING_INVALID, ENDPOINT_INSECURE */
export function createAcrTasksClient(options: AcrTasksClientOptions): AcrTasksClient {
  const { subscriptionId, resourceGroup, registryName, credential } = options;
  requireSetting("subscription", subscriptionId, SUBSCRIPTION, "a UUID");
  requireSetting("resource group", resourceGroup, RESOURCE_GROUP, "the name of a resource group");
  requireSetting("registry name", registryName, REGISTRY, "letters and digits, without .azurecr.io");
  const endpoint = URL.parse(options.endpoint ?? PUBLIC_ENDPOINT);
  if (endpoint === null) throw invalidSetting("ARM endpoint", options.endpoint ?? "", "a URL");
  const policy: RetryPolicy = { ...DEFAULT_RETRY_POLICY, ...options.retry };
  const http = createArmHttp({ endpoint, credential, retry: policy });
  const root = `/subscriptions/${subscriptionId}/resourceGroups/${resourceGroup}/providers/Microsoft.ContainerRegistry/registries/${registryName}`;

  const call = async (
    method: "GET" | "POST" | "PUT",
    path: string,
    operation: string,
    body?: unknown,
  ): Promise<ArmAnswer> => {
    const url = new URL(`${root}${path}`, endpoint);
    url.searchParams.set("api-version", API_VERSION);
    return await http.send({
      operation,
      subject: `${registryName}${path}`,
      method,
      url,
      headers: { accept: "application/json", ...(body === undefined ? {} : { "content-type": "application/json" }) },
      ...(body === undefined ? {} : { body: Buffer.from(JSON.stringify(body)) }),
    });
  };
  const read = <T>(schema: z.ZodType<T>, { text }: ArmAnswer, operation: string): T => {
    const result = schema.safeParse(parseJson(text));
    if (result.success) return result.data;
    // The answer itself stays out of the error: links in it carry signatures.
    const [issue] = result.error.issues;
    const got = `${issue?.path.join(".") || "an answer"}: ${issue?.message ?? "unreadable"}`;
    throw new AcrTasksError("UNEXPECTED_RESPONSE", { operation, subject: registryName, got });
  };
  const getRun = async (runId: string): Promise<Run> => {
    requireSetting("run", runId, NAME, "the id of a run");
    return read(runSchema, await call("GET", `/runs/${runId}`, "look at run"), "look at run");
  };
  const toTask = ({ id, identity }: z.output<typeof taskSchema>): Task => ({
    id,
    principalId: identity?.principalId ?? undefined,
  });

  return {
    async uploadContext(archive) {
      const operation = "upload build context to";
      const answer = await call("POST", "/listBuildSourceUploadUrl", operation);
      const { uploadUrl, relativePath } = read(uploadSchema, answer, operation);
      await http.sendToBlob({
        operation,
        subject: relativePath,
        method: "PUT",
        url: new URL(uploadUrl),
        headers: { "x-ms-blob-type": "BlockBlob", "content-type": "application/octet-stream" },
        body: archive,
      });
      return relativePath;
    },
    async scheduleRun(request) {
      const operation = "schedule run on";
      return read(runSchema, await call("POST", "/scheduleRun", operation, request), operation);
    },
    getRun,
    async cancelRun(runId) {
      requireSetting("run", runId, NAME, "the id of a run");
      await call("POST", `/runs/${runId}/cancel`, "cancel run");
    },
    async getLogLink(runId) {
      requireSetting("run", runId, NAME, "the id of a run");
      const operation = "link log of run";
      return read(logSchema, await call("POST", `/runs/${runId}/listLogSasUrl`, operation), operation).logLink;
    },
    async putTask(name, task) {
      requireSetting("task", name, NAME, "letters, digits, _ and -");
      return toTask(read(taskSchema, await call("PUT", `/tasks/${name}`, "create task", task), "create task"));
    },
    async getTask(name) {
      requireSetting("task", name, NAME, "letters, digits, _ and -");
      return toTask(read(taskSchema, await call("GET", `/tasks/${name}`, "read task"), "read task"));
    },
    blobs: http,
    retry: policy,
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function requireSetting(subject: string, value: string, grammar: RegExp, want: string): void {
  if (!grammar.test(value)) throw invalidSetting(subject, value, want);
}

function invalidSetting(subject: string, value: string, want: string): AcrTasksError {
  return new AcrTasksError("SETTING_INVALID", {
    operation: "use",
    subject,
    got: JSON.stringify(value.slice(0, 100)),
    want,
  });
}
