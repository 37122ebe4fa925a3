// The runs of a registry: accepted, queued, carried out, canceled, listed.
import type { Clock } from "../clock.ts";
import { ArmError } from "./arm-error.ts";
import { type AgentOptions, executeRun } from "./execute-run.ts";
import type { FaultOrders } from "./faults.ts";
import { isFinal, type RunRecord, type RunStatus } from "./run-record.ts";
import type { QuickRequest } from "./run-types.ts";
import { createScheduler, type JobHandle } from "./scheduler.ts";

/** What a run is made of. */
interface NewRun {
  readonly request: QuickRequest;
  readonly taskName?: string;
  readonly hasSystemIdentity: boolean;
  readonly isArchiveEnabled: boolean;
}

/** The runs. */
export interface RunService {
  schedule(run: NewRun): RunRecord;
  find(runId: string): RunRecord | undefined;
  /** The newest first. */
  list(): RunRecord[];
  /** @throws ArmError 409 for a run that is over */
  cancel(run: RunRecord): void;
  close(): Promise<void>;
}

/** How runs are scheduled and carried out. */
export interface RunServiceOptions {
  readonly clock: Clock;
  readonly agent: AgentOptions;
  /** Agents by pool; the shared ones under "". */
  readonly agents: Readonly<Record<string, number>>;
  readonly queueDelayMs: number;
  readonly faults: FaultOrders;
}

/** Creates a service without runs; its state lives in memory. */
export function createRunService(options: RunServiceOptions): RunService {
  const { clock, agent, agents, queueDelayMs, faults } = options;
  const runs = new Map<string, RunRecord>();
  const handles = new Map<string, JobHandle>();
  const scheduler = createScheduler({ clock, agents, queueDelayMs });

  const move = (run: RunRecord, status: RunStatus): void => {
    run.status = status;
    run.lastUpdatedTime = clock.now();
    if (status === "Started") run.startTime = clock.now();
    if (isFinal(status)) run.finishTime = clock.now();
  };

  return {
    schedule({ request, taskName, hasSystemIdentity, isArchiveEnabled }) {
      const now = clock.now();
      const run: RunRecord = {
        runId: `c${(runs.size + 1).toString(36).padStart(2, "0")}`,
        request,
        ...(taskName === undefined ? {} : { taskName }),
        hasSystemIdentity,
        createTime: now,
        lastUpdatedTime: now,
        status: "Queued",
        isArchiveEnabled,
        outputImages: [],
      };
      runs.set(run.runId, run);
      const fault = faults.nextForRun();
      const handle = scheduler.submit({
        pool: request.agentPoolName ?? "",
        timeoutMs: request.timeout * 1_000,
        stuck: fault?.kind === "stuck",
        async work(signal) {
          move(run, "Started");
          const outcome = await executeRun(run, fault, agent, signal, () => {
            move(run, "Running");
            if (fault?.kind === "canceled" && fault.afterMs === undefined) handle.stop("canceled");
          });
          run.outputImages = outcome.outputImages;
          if (outcome.errorMessage !== undefined) run.errorMessage = outcome.errorMessage;
          move(run, outcome.status);
          handles.delete(run.runId);
        },
        dropped() {
          move(run, "Canceled");
          handles.delete(run.runId);
        },
      });
      handles.set(run.runId, handle);
      if (fault?.kind === "canceled" && fault.afterMs !== undefined) {
        clock.after(fault.afterMs, () => handle.stop("canceled"));
      }
      return run;
    },
    find: (runId) => runs.get(runId),
    list: () => [...runs.values()].toReversed(),
    cancel(run) {
      const handle = handles.get(run.runId);
      if (handle === undefined) {
        throw new ArmError(409, "RunNotCancellable", `The run '${run.runId}' is over: ${run.status}.`);
      }
      handle.stop("canceled");
    },
    close: () => scheduler.close(),
  };
}
