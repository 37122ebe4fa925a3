// The life of one module as pure decisions: how it runs, ends, backs off and comes back, as the edge agent reports it.

/** What the edge agent reports of a module; `status` beside it only echoes the desired state. */
export type RuntimeStatus = "unknown" | "backoff" | "running" | "unhealthy" | "stopped" | "failed" | "dead";

/** When a module that ended is started again. */
export type RestartPolicy = "never" | "on-failure" | "on-unhealthy" | "always";

/** One module's state; times in ms since the Unix epoch, undefined until it happened once. */
export interface ModuleState {
  readonly runtimeStatus: RuntimeStatus;
  readonly exitCode: number;
  readonly statusDescription: string;
  readonly restartCount: number;
  readonly lastStartMs: number | undefined;
  readonly lastExitMs: number | undefined;
}

/** A module that ended, and in how many ms it must be started again; undefined for never. */
export interface ExitDecision {
  readonly state: ModuleState;
  readonly restartAfterMs: number | undefined;
}

const COOL_OFF_MS = 10_000;
const MAX_COOL_OFF_MS = 300_000;
const MAX_RESTARTS = 20;
/** A module that ran this long is healthy again: its restarts are forgotten (edgeAgent's IntensiveCareTime). */
const INTENSIVE_CARE_MS = 600_000;

/** The statuses that may be reported after each status; staying the same is always allowed. */
export const TRANSITIONS: Readonly<Record<RuntimeStatus, readonly RuntimeStatus[]>> = {
  unknown: ["running", "stopped", "failed"],
  running: ["backoff", "stopped", "failed", "unhealthy", "unknown"],
  backoff: ["running", "stopped", "unknown"],
  stopped: ["running", "unknown"],
  failed: ["running", "stopped", "unknown"],
  unhealthy: ["running", "backoff", "stopped", "failed", "unknown"],
  dead: ["unknown"],
};

/** A module that was created and not started yet. */
export const CREATED: ModuleState = {
  runtimeStatus: "unknown",
  exitCode: 0,
  statusDescription: "created",
  restartCount: 0,
  lastStartMs: undefined,
  lastExitMs: undefined,
};

/** The module starts running; a start out of backoff counts as a restart. */
export function startModule(state: ModuleState, nowMs: number): ModuleState {
  const restartCount = state.runtimeStatus === "backoff" ? state.restartCount + 1 : state.restartCount;
  const statusDescription = "running";
  return { ...state, runtimeStatus: "running", exitCode: 0, statusDescription, restartCount, lastStartMs: nowMs };
}

/** The module could not be started; the plan will try again. */
export function failStart(state: ModuleState, reason: string): ModuleState {
  return { ...state, runtimeStatus: "unknown", statusDescription: reason };
}

/** The module was told to stop, and did. */
export function stopModule(state: ModuleState, exitCode: number, nowMs: number): ModuleState {
  const ended = state.runtimeStatus === "running" ? { exitCode, lastExitMs: nowMs } : {};
  return { ...state, ...ended, runtimeStatus: "stopped", statusDescription: "stopped", restartCount: 0 };
}

/** The module ended by itself: cool-off 10 s·2ⁿ capped at 300 s where its policy restarts it, at most 20 times in a row. */
export function exitModule(state: ModuleState, exitCode: number, policy: RestartPolicy, nowMs: number): ExitDecision {
  const ranMs = nowMs - (state.lastStartMs ?? nowMs);
  const restartCount = ranMs >= INTENSIVE_CARE_MS ? 0 : state.restartCount;
  const statusDescription = `exited with code ${exitCode}`;
  const ended = { ...state, exitCode, statusDescription, restartCount, lastExitMs: nowMs };
  const wanted = policy === "always" || (policy !== "never" && exitCode !== 0);
  if (!wanted) {
    return { state: { ...ended, runtimeStatus: exitCode === 0 ? "stopped" : "failed" }, restartAfterMs: undefined };
  }
  if (restartCount >= MAX_RESTARTS) return { state: { ...ended, runtimeStatus: "failed" }, restartAfterMs: undefined };
  const restartAfterMs = Math.min(MAX_COOL_OFF_MS, COOL_OFF_MS * 2 ** restartCount);
  return { state: { ...ended, runtimeStatus: "backoff" }, restartAfterMs };
}

const MAX_PLAN_RETRIES = 20;

/** How long to wait before a failed plan is tried again after `retries` retries: 10 s·2ⁿ, at most 20 times. */
export function planRetryDelay(retries: number): number | undefined {
  return retries >= MAX_PLAN_RETRIES ? undefined : COOL_OFF_MS * 2 ** retries;
}
