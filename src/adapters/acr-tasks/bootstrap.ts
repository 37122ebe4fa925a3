// Brings Lighter's image into a registry by a quick build, and the pre-created task that network-restricted ones need.
import type { RunState } from "../../core/release/rebase-run.ts";
import { AcrTasksError } from "./acr-tasks-error.ts";
import type { AcrTasksClient, Task } from "./client.ts";
import { packContext, type ContextFile } from "./context.ts";
import { shortenLog, tryReadLog } from "./log.ts";
import { pendingStatusOf, stateOf, type Run } from "./run.ts";
import { commonFields, platformOf, timeoutOf, type RunSettings } from "./run-request.ts";
import { encodeTemplate } from "./task-yaml.ts";

/** A build to be followed to its end. */
export interface ImageBuild {
  /** With a file `Dockerfile` at its root. */
  readonly context: readonly ContextFile[];
  /** `repository:tag` in the registry. */
  readonly image: string;
  /** Values of the Dockerfile's arguments. */
  readonly buildArguments?: Readonly<Record<string, string>>;
  readonly settings: RunSettings;
  /** Hears the log as it comes. */
  readonly onLog: (text: string) => void;
}

/** How a build ended; `digest` is what the service says it pushed. */
export interface ImageBuildResult {
  readonly runId: string;
  readonly state: Exclude<RunState, { state: "pending" }>;
  readonly digest: string | undefined;
}

const FIRST_PAUSE_MS = 1_000;
const LAST_PAUSE_MS = 15_000;
/** A log may be completed a little after its run; a missing one never is. */
const LOOKS_AFTER_END = 3;
const TAIL_CHARACTERS = 16 * 1024;

/** Uploads the context, builds, and follows the log as `az acr build` does: with pauses from 1 to 15 s. */
export async function buildImage(
  client: AcrTasksClient,
  { context, image, buildArguments = {}, settings, onLog }: ImageBuild,
): Promise<ImageBuildResult> {
  const scheduled = await client.scheduleRun({
    type: "DockerBuildRequest",
    ...commonFields(settings),
    sourceLocation: await client.uploadContext(packContext(context)),
    dockerFilePath: "Dockerfile",
    imageNames: [image],
    isPushEnabled: true,
    noCache: false,
    arguments: Object.entries(buildArguments).map(([name, value]) => ({ name, value, isSecret: false })),
  });
  const { run, tail } = await followRun(client, scheduled.properties.runId, onLog);
  const state = stateOf(run, { run: run.id, tail: shortenLog(tail) });
  if (state.state === "pending")
    throw new AcrTasksError("UNEXPECTED_RESPONSE", { operation: "follow run", subject: run.id, got: state.status });
  const digest = run.properties.outputImages?.find(({ repository }) => repository === image.split(":")[0])?.digest;
  return { runId: run.properties.runId, state, digest: digest ?? undefined };
}

async function followRun(
  client: AcrTasksClient,
  runId: string,
  onLog: (text: string) => void,
): Promise<{ readonly run: Run; readonly tail: string }> {
  let tail = "";
  let pauseMs = FIRST_PAUSE_MS;
  for (let end = 0, looksAfterEnd = 0; ;) {
    // The run first: what its log lacks after that is only late.
    const run = await client.getRun(runId);
    const part = await tryReadLog(client, runId, end);
    if (part !== undefined && part.text !== "") {
      onLog(part.text);
      tail = (tail + part.text).slice(-TAIL_CHARACTERS);
      end = part.end;
      pauseMs = FIRST_PAUSE_MS;
    }
    const isOver = pendingStatusOf(run) === undefined;
    if (isOver && (part?.complete === true || looksAfterEnd >= LOOKS_AFTER_END)) return { run, tail };
    if (isOver) looksAfterEnd += 1;
    await client.retry.sleep(pauseMs);
    pauseMs = Math.min(LAST_PAUSE_MS, pauseMs * 1.5);
  }
}

/** A task to be created in a registry. */
export interface RebaseTask {
  readonly name: string;
  /** Azure region, e.g. `westeurope`. */
  readonly location: string;
  readonly settings: RunSettings;
}

/**
 * Creates or updates the task that runs `lighter rebase` as its own system-assigned identity, which needs a role that may
 * push (`AcrPush`, or of an ABAC registry `Container Registry Repository Writer`).
 */
export async function createRebaseTask(
  client: Pick<AcrTasksClient, "putTask">,
  { name, location, settings }: RebaseTask,
): Promise<Task> {
  const timeout = timeoutOf(settings);
  return await client.putTask(name, {
    location,
    identity: { type: "SystemAssigned" },
    properties: {
      status: "Enabled",
      platform: platformOf(settings),
      timeout,
      ...(settings.agentPool === undefined ? {} : { agentPoolName: settings.agentPool }),
      credentials: { sourceRegistry: { loginMode: "Default", identity: "[system]" } },
      step: { type: "EncodedTask", encodedTaskContent: encodeTemplate(timeout), values: [] },
    },
  });
}
