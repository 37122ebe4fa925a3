// The rebase engine `acr-tasks`: runs in ACR Tasks, beside the registry, started here and collected here.
import type { RebaseRuns, RunHandle } from "../../ports/rebase-runs.ts";
import type { ContentRules } from "../../core/image/content-rules.ts";
import type { RunLog } from "../../core/release/rebase-run.ts";
import { AcrTasksError } from "./acr-tasks-error.ts";
import { createBuildRunner } from "./build-runner.ts";
import type { AcrTasksClient } from "./client.ts";
import { createCmdRunner } from "./cmd-runner.ts";
import { shortenLog, tryReadLog } from "./log.ts";
import { pendingStatusOf, stateOf } from "./run.ts";
import { pinRequest, type Runner, type RunnerTools } from "./runner.ts";

export { AcrTasksError } from "./acr-tasks-error.ts";
export { createAcrTasksClient, type AcrTasksClient } from "./client.ts";
export { buildImage, createRebaseTask, type ImageBuildResult } from "./bootstrap.ts";
export type { ContextFile } from "./context.ts";
export type { RunSettings } from "./run-request.ts";
export { readTaskSettings, type TaskSettings } from "./settings.ts";

/** How rebases are run. */
export interface AcrTasksRunsOptions extends RunnerTools {
  readonly runner: RunHandle["runner"];
  /** Lighter's image for the runner `cmd`; default `lighter:latest` in the candidate's registry. */
  readonly image?: string;
  /** For the runner `cmd`: a pre-created task to be run. */
  readonly task?: string;
  /** For the runner `build`: where builds push before they are sealed; default `lighter/builds`. */
  readonly buildRepository?: string;
  readonly rules?: ContentRules;
}

const DEFAULT_IMAGE = "lighter:latest";
const DEFAULT_BUILD_REPOSITORY = "lighter/builds";
/** Enough for twenty long lines. */
const TAIL_BYTES = 16 * 1024;

/** Creates the engine. It keeps nothing between calls. @throws AcrTasksError SETTING_INVALID */
export function createAcrTasksRuns(options: AcrTasksRunsOptions): RebaseRuns {
  const { client, registries, rules = {} } = options;
  const runners = createRunners(options, rules);

  /** A run's state must not depend on whether its log can be read. */
  const readTail = async (runId: string): Promise<string> => {
    try {
      return shortenLog((await tryReadLog(client, runId, -TAIL_BYTES))?.text ?? "");
    } catch (error) {
      if (error instanceof AcrTasksError) return "";
      throw error;
    }
  };

  return {
    async start(request) {
      const found = await pinRequest(registries, request);
      return "kind" in found ? found : await runners[options.runner].start(found);
    },
    async look({ runId }) {
      try {
        const run = await client.getRun(runId);
        const isOver = pendingStatusOf(run) === undefined;
        const log: RunLog = { run: run.id, tail: isOver ? await readTail(runId) : "" };
        return stateOf(run, log);
      } catch (error) {
        if (!(error instanceof AcrTasksError) || error.code !== "NOT_FOUND") throw error;
        const reason = `the service does not know run ${runId}`;
        return { state: "failed", code: "RUN_UNKNOWN", reason, log: { run: runId, tail: "" } };
      }
    },
    async cancel({ runId }) {
      try {
        await client.cancelRun(runId);
      } catch (error) {
        if (!(error instanceof AcrTasksError) || error.retryable || !(await isOver(client, runId))) throw error;
      }
    },
    collect: (handle) => runners[handle.runner].collect(handle),
    linkLog: ({ runId }) => client.getLogLink(runId),
  };
}

function createRunners(
  options: AcrTasksRunsOptions,
  rules: ContentRules,
): Readonly<Record<RunHandle["runner"], Runner>> {
  const { image = DEFAULT_IMAGE, buildRepository = DEFAULT_BUILD_REPOSITORY, task, runner } = options;
  if (task !== undefined && runner === "build")
    throw new AcrTasksError("SETTING_INVALID", {
      operation: "use",
      subject: `task ${task}`,
      got: "runner build",
      want: "runner cmd: a pre-created task runs Lighter",
    });
  return {
    cmd: createCmdRunner({ ...options, image }),
    build: createBuildRunner({ ...options, buildRepository, choice: { rules } }),
  };
}

/** Whether a run is over, or gone, so that there is nothing to cancel. */
async function isOver(client: AcrTasksClient, runId: string): Promise<boolean> {
  try {
    return pendingStatusOf(await client.getRun(runId)) === undefined;
  } catch (error) {
    return error instanceof AcrTasksError && error.code === "NOT_FOUND";
  }
}
