// A run: its states, and how the API shows it.
import type { QuickRequest } from "./run-types.ts";

/** The states of a run; the last five are final. */
export type RunStatus = "Queued" | "Started" | "Running" | "Succeeded" | "Failed" | "Canceled" | "Error" | "Timeout";
/** A final state. */
export type FinalStatus = Exclude<RunStatus, "Queued" | "Started" | "Running">;

/** An image that a run pushed. */
export interface OutputImage {
  readonly registry: string;
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
}

/** A run with everything known of it; times are ms of the stack's clock. */
export interface RunRecord {
  readonly runId: string;
  readonly request: QuickRequest;
  /** Set for the run of a pre-created task. */
  readonly taskName?: string;
  /** Whether that task has a system-assigned identity. */
  readonly hasSystemIdentity: boolean;
  readonly createTime: number;
  status: RunStatus;
  lastUpdatedTime: number;
  startTime?: number;
  finishTime?: number;
  errorMessage?: string;
  isArchiveEnabled: boolean;
  outputImages: readonly OutputImage[];
}

/** Whether a run in this state stays in it. */
export function isFinal(status: RunStatus): status is FinalStatus {
  return status !== "Queued" && status !== "Started" && status !== "Running";
}

const iso = (ms: number): string => new Date(ms).toISOString();

/** A run on the wire; `registryId` is the ARM id of its registry. Null fields are left out, as ARM does. */
export function renderRun(run: RunRecord, registryId: string): unknown {
  const { runId, request, status } = run;
  const { platform, credentials } = request;
  const custom = Object.keys(credentials?.customRegistries ?? {});
  return {
    id: `${registryId}/runs/${runId}`,
    name: runId,
    type: "Microsoft.ContainerRegistry/registries/runs",
    properties: {
      provisioningState:
        status === "Canceled" ? "Canceled" : isFinal(status) && status !== "Succeeded" ? "Failed" : "Succeeded",
      runId,
      status,
      lastUpdatedTime: iso(run.lastUpdatedTime),
      runType: request.type === "DockerBuildRequest" ? "QuickBuild" : "QuickRun",
      createTime: iso(run.createTime),
      ...(run.startTime === undefined ? {} : { startTime: iso(run.startTime) }),
      ...(run.finishTime === undefined ? {} : { finishTime: iso(run.finishTime) }),
      ...(run.outputImages.length === 0 ? {} : { outputImages: run.outputImages }),
      ...(run.taskName === undefined ? {} : { task: run.taskName }),
      ...(request.agentPoolName === undefined ? {} : { agentPoolName: request.agentPoolName }),
      ...(run.errorMessage === undefined ? {} : { runErrorMessage: run.errorMessage }),
      ...(custom.length === 0 ? {} : { customRegistries: custom }),
      platform: {
        os: platform.os,
        architecture: platform.architecture ?? "amd64",
        ...(platform.variant === undefined ? {} : { variant: platform.variant }),
      },
      agentConfiguration: { cpu: request.agentConfiguration?.cpu ?? 2 },
      isArchiveEnabled: run.isArchiveEnabled,
    },
  };
}
