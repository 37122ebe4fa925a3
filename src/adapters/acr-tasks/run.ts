// A run as the API of ACR Tasks shows it, and what its status means for us.
import { z } from "zod";
import type { PendingStatus, RunFailureCode, RunLog, RunState } from "../../core/release/rebase-run.ts";

const imageSchema = z.object({
  registry: z.string(),
  repository: z.string(),
  tag: z.string().nullish(),
  digest: z.string().nullish(),
});

/** The fields of a run that count here (api-version 2025-03-01-preview). */
export const runSchema: z.ZodType<Run> = z.object({
  id: z.string(),
  properties: z.object({
    runId: z.string().min(1),
    status: z.string(),
    createTime: z.string().nullish(),
    agentPoolName: z.string().nullish(),
    runErrorMessage: z.string().nullish(),
    outputImages: z.array(imageSchema).nullish(),
  }),
});

/** An image that a run pushed. */
export interface OutputImage {
  readonly registry: string;
  readonly repository: string;
  readonly tag?: string | null | undefined;
  readonly digest?: string | null | undefined;
}

/** A run; `id` is its ARM id. */
export interface Run {
  readonly id: string;
  readonly properties: {
    readonly runId: string;
    readonly status: string;
    readonly createTime?: string | null | undefined;
    readonly agentPoolName?: string | null | undefined;
    readonly runErrorMessage?: string | null | undefined;
    readonly outputImages?: readonly OutputImage[] | null | undefined;
  };
}

const FAILURES: Readonly<Record<string, { readonly code: RunFailureCode; readonly words: string }>> = {
  Failed: { code: "RUN_FAILED", words: "a step of the run failed" },
  Canceled: { code: "RUN_CANCELED", words: "the run was canceled" },
  Error: { code: "RUN_ERROR", words: "the service failed to carry the run out" },
  Timeout: { code: "RUN_TIMED_OUT", words: "the run took longer than it may" },
};

/** The status if the run is not over; what the service may add one day counts as under way. */
export function pendingStatusOf({ properties: { status } }: Run): PendingStatus | undefined {
  if (status === "Succeeded" || FAILURES[status] !== undefined) return undefined;
  return status === "Queued" || status === "Started" ? status : "Running";
}

/** Puts a run into a state; `log` is read only when it is over. */
export function stateOf(run: Run, log: RunLog): RunState {
  const { status, createTime, agentPoolName, runErrorMessage, runId } = run.properties;
  const pending = pendingStatusOf(run);
  if (pending !== undefined) {
    const pool = agentPoolName ? `agent pool ${agentPoolName}` : "ACR Tasks";
    const waitsFor = {
      Queued: `an agent of ${pool} to take run ${runId}`,
      Started: `the agent of ${pool} to prepare run ${runId}`,
      Running: `the steps of run ${runId}`,
    }[pending];
    return { state: "pending", status: pending, waitsFor, createdAt: createTime ?? "" };
  }
  const failure = FAILURES[status];
  if (failure === undefined) return { state: "succeeded", log };
  const reason = [`${failure.words} (${runId}: ${status})`, ...(runErrorMessage ? [runErrorMessage] : [])].join(": ");
  return { state: "failed", code: failure.code, reason: reason.slice(0, MAX_REASON), log };
}

const MAX_REASON = 500;
