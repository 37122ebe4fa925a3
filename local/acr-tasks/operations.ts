// The operations of ACR Tasks: what each route of the ARM API does.
import type { Clock } from "../clock.ts";
import { ArmError, invalidParameter } from "./arm-error.ts";
import type { RegistryRules } from "./registry-rules.ts";
import { parseRunFilter } from "./run-filter.ts";
import { type RunRecord, renderRun } from "./run-record.ts";
import { parseRunRequest, parseTaskDefinition } from "./run-request.ts";
import type { QuickRequest, RunRequest } from "./run-types.ts";
import type { RunService } from "./run-service.ts";
import { hasSystemIdentity, renderTask, resolveTaskRun, type TaskRecord } from "./task-store.ts";
import type { TaskStorage } from "./task-storage.ts";

/** A call, its path below the registry. */
interface ArmCall {
  readonly parameters: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly apiVersion: string;
  readonly body: unknown;
  /** The call's URL without its query, for links to next pages. */
  readonly url: string;
}

/** What is sent back. */
export interface ArmReply {
  readonly status: number;
  readonly body?: unknown;
}

/** One operation; `path` is a Hono route below the registry. */
export interface ArmOperation {
  readonly name: string;
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  handle(call: ArmCall): ArmReply | Promise<ArmReply>;
}

/** What operations work on. */
export interface OperationParts {
  readonly clock: Clock;
  readonly registryId: string;
  readonly registryName: string;
  readonly subscriptionId: string;
  readonly rules: () => RegistryRules;
  readonly pools: readonly string[];
  readonly runs: RunService;
  readonly storage: TaskStorage;
  readonly createId: () => string;
}

/** The version whose credentials have identities. */
const IDENTITY_VERSION = "2025-03-01-preview";
const PAGE_SIZE = 100;
const TASK_NAME = /^[A-Za-z0-9_-]{5,50}$/;

/** Lists the operations. */
export function listOperations(parts: OperationParts): ArmOperation[] {
  const { clock, registryId, runs, storage, rules } = parts;
  const tasks = new Map<string, TaskRecord>();
  const ok = (body: unknown): ArmReply => ({ status: 200, body });

  const checkTasksAllowed = (): void => {
    if (rules().tasksAllowed !== false) return;
    const text = `ACR Tasks requests for the registry ${parts.registryName} and ${parts.subscriptionId} are not permitted. Please file an Azure support request at http://aka.ms/azuresupport for assistance.`;
    throw new ArmError(400, "TasksOperationsNotAllowed", text, { target: "request" });
  };
  const findRun = ({ parameters }: ArmCall): RunRecord => {
    const runId = parameters["runId"] ?? "";
    const run = runs.find(runId);
    if (run === undefined) throw new ArmError(404, "RunNotFound", `The run '${runId}' does not exist.`);
    return run;
  };
  const findTask = (name: string): TaskRecord => {
    const task = tasks.get(name.toLowerCase());
    if (task === undefined) throw new ArmError(404, "ResourceNotFound", `The task '${name}' was not found.`);
    return task;
  };
  const checkPool = (name: string | undefined): void => {
    if (name === undefined || parts.pools.includes(name)) return;
    throw new ArmError(404, "AgentPoolNotFound", `The agent pool '${name}' does not exist.`, {
      target: "agentPoolName",
    });
  };
  const resolve = (
    request: RunRequest,
  ): { readonly request: QuickRequest; readonly taskName?: string; readonly hasSystemIdentity: boolean } => {
    if (request.type !== "TaskRunRequest") return { request, hasSystemIdentity: false };
    const prefix = `${registryId}/tasks/`.toLowerCase();
    if (!request.taskId.toLowerCase().startsWith(prefix)) {
      throw invalidParameter("request.taskId", `The task '${request.taskId}' does not belong to this registry.`);
    }
    const task = findTask(request.taskId.slice(prefix.length));
    return { request: resolveTaskRun(task, request), taskName: task.name, hasSystemIdentity: hasSystemIdentity(task) };
  };

  return [
    {
      name: "listBuildSourceUploadUrl",
      method: "POST",
      path: "/listBuildSourceUploadUrl",
      async handle() {
        checkTasksAllowed();
        return ok(await storage.createUpload());
      },
    },
    {
      name: "scheduleRun",
      method: "POST",
      path: "/scheduleRun",
      handle({ body, apiVersion }) {
        checkTasksAllowed();
        const parsed = parseRunRequest(body);
        const resolved = resolve(parsed);
        checkPool(resolved.request.agentPoolName);
        const request = apiVersion === IDENTITY_VERSION ? resolved.request : dropSourceIdentity(resolved.request);
        const run = runs.schedule({ ...resolved, request, isArchiveEnabled: parsed.isArchiveEnabled ?? false });
        return ok(renderRun(run, registryId));
      },
    },
    {
      name: "listRuns",
      method: "GET",
      path: "/runs",
      handle({ query, url }) {
        const matches = parseRunFilter(query.get("$filter") ?? "");
        const top = readTop(query.get("$top"));
        const found = runs.list().filter(matches);
        const token = query.get("$skipToken");
        const after = token === null ? 0 : found.findIndex(({ runId }) => runId === token) + 1;
        const page = found.slice(after, after + top);
        const next = new URLSearchParams(query);
        next.set("$skipToken", page.at(-1)?.runId ?? "");
        const isLast = after + page.length >= found.length;
        return ok({
          value: page.map((run) => renderRun(run, registryId)),
          ...(isLast ? {} : { nextLink: `${url}?${next.toString()}` }),
        });
      },
    },
    {
      name: "getRun",
      method: "GET",
      path: "/runs/:runId",
      handle: (call) => ok(renderRun(findRun(call), registryId)),
    },
    {
      name: "updateRun",
      method: "PATCH",
      path: "/runs/:runId",
      handle(call) {
        const run = findRun(call);
        const isArchiveEnabled = (call.body as { readonly isArchiveEnabled?: unknown } | undefined)?.isArchiveEnabled;
        if (isArchiveEnabled !== undefined && typeof isArchiveEnabled !== "boolean") {
          throw invalidParameter("isArchiveEnabled", "The value of 'isArchiveEnabled' is not true or false.");
        }
        if (isArchiveEnabled !== undefined) run.isArchiveEnabled = isArchiveEnabled;
        run.lastUpdatedTime = clock.now();
        return ok(renderRun(run, registryId));
      },
    },
    {
      name: "cancelRun",
      method: "POST",
      path: "/runs/:runId/cancel",
      handle(call) {
        runs.cancel(findRun(call));
        return { status: 200 };
      },
    },
    {
      name: "listLogSasUrl",
      method: "POST",
      path: "/runs/:runId/listLogSasUrl",
      handle: async (call) => ok({ logLink: await storage.linkLog(findRun(call).runId) }),
    },
    {
      name: "putTask",
      method: "PUT",
      path: "/tasks/:taskName",
      handle({ parameters, body }) {
        checkTasksAllowed();
        const name = parameters["taskName"] ?? "";
        if (!TASK_NAME.test(name)) {
          throw invalidParameter("taskName", `The task name '${name}' is not 5 to 50 letters, digits, '-' and '_'.`);
        }
        const definition = parseTaskDefinition(body);
        checkPool(definition.properties.agentPoolName);
        const known = tasks.get(name.toLowerCase());
        const isSystem = definition.identity?.type.includes("SystemAssigned") === true;
        const task: TaskRecord = {
          name: known?.name ?? name,
          definition,
          creationDate: known?.creationDate ?? clock.now(),
          principalId: isSystem ? (known?.principalId ?? parts.createId()) : undefined,
        };
        tasks.set(name.toLowerCase(), task);
        return { status: known === undefined ? 201 : 200, body: renderTask(task, registryId) };
      },
    },
    {
      name: "getTask",
      method: "GET",
      path: "/tasks/:taskName",
      handle: ({ parameters }) => ok(renderTask(findTask(parameters["taskName"] ?? ""), registryId)),
    },
    {
      name: "listTasks",
      method: "GET",
      path: "/tasks",
      handle: () => ok({ value: [...tasks.values()].map((task) => renderTask(task, registryId)) }),
    },
    {
      name: "deleteTask",
      method: "DELETE",
      path: "/tasks/:taskName",
      handle: ({ parameters }) => ({ status: tasks.delete((parameters["taskName"] ?? "").toLowerCase()) ? 200 : 204 }),
    },
  ];
}

function readTop(text: string | null): number {
  if (text === null) return PAGE_SIZE;
  if (!/^[1-9]\d{0,3}$/.test(text)) throw invalidParameter("$top", `The value '${text}' of '$top' is not a count.`);
  return Math.min(Number(text), PAGE_SIZE);
}

/** What an older version's model does not know is lost on the way in. */
function dropSourceIdentity(request: QuickRequest): QuickRequest {
  if (request.credentials?.sourceRegistry === undefined) return request;
  const { loginMode } = request.credentials.sourceRegistry;
  return { ...request, credentials: { ...request.credentials, sourceRegistry: { loginMode } } };
}
