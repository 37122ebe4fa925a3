// Reads a task's YAML: its steps, checked, in the order in which they run.
import { parse } from "yaml";
import { z } from "zod";
import { RunError } from "./run-error.ts";

/** One step; `cmd`, `build` and `push` exclude each other, durations are seconds. */
export interface TaskStep {
  readonly id: string;
  readonly action:
    | { readonly kind: "cmd"; readonly command: string; readonly entryPoint?: string }
    | { readonly kind: "build"; readonly command: string }
    | { readonly kind: "push"; readonly images: readonly string[] };
  /** `NAME=value` as written: the agent's shell takes the quotes off. */
  readonly env: readonly string[];
  readonly workingDirectory: string | undefined;
  readonly timeoutSeconds: number;
  readonly startDelaySeconds: number;
  readonly retries: number;
  readonly retryDelaySeconds: number;
  readonly ignoreErrors: boolean;
}

const DEFAULT_STEP_TIMEOUT = 600;
const DEFAULT_RETRY_DELAY = 5;
const MAX_TEXT = 1 << 20;
const MAX_STEPS = 256;

const seconds = z.int().nonnegative();
const stepSchema = z.strictObject({
  id: z.string().min(1).regex(/^\S+$/, "cannot contain spaces").optional(),
  cmd: z.string().min(1).optional(),
  build: z.string().min(1).optional(),
  push: z.array(z.string().min(1)).min(1).optional(),
  entryPoint: z.string().optional(),
  env: z.array(z.string().regex(/^[^=]+=/, "is not NAME=value")).optional(),
  workingDirectory: z.string().optional(),
  when: z.array(z.string()).optional(),
  timeout: seconds.optional(),
  startDelay: seconds.optional(),
  retries: z.int().nonnegative().max(20).optional(),
  retryDelay: seconds.optional(),
  ignoreErrors: z.boolean().optional(),
  // Nothing here can carry these out differently.
  cache: z.enum(["enabled", "disabled"]).optional(),
  pull: z.boolean().optional(),
  keep: z.boolean().optional(),
  network: z.string().optional(),
  isolation: z.string().optional(),
  privileged: z.boolean().optional(),
  disableWorkingDirectoryOverride: z.boolean().optional(),
});
const taskSchema = z.strictObject({
  version: z.enum(["1.0-preview-1", "v1.0.0", "v1.1.0"]).optional(),
  steps: z.array(stepSchema).min(1).max(MAX_STEPS),
  stepTimeout: seconds.optional(),
  env: z.array(z.string().regex(/^[^=]+=/, "is not NAME=value")).optional(),
  workingDirectory: z.string().optional(),
});
type StepFields = z.output<typeof stepSchema>;

function invalid(subject: string, got: string, want?: string, cause?: unknown): RunError {
  return new RunError("TASK_INVALID", { operation: "read task", subject, got, ...(want && { want }), cause });
}

/**
 * Reads a task whose templates are filled (schema `v1.0.0` of ACR Tasks).
 *
 * Steps run one after the other, in an order that `when` allows; what only a container runtime could do (`detach`,
 * `ports`, `user`, volumes, networks, secrets of a vault) is refused by name.
 * @throws RunError TASK_INVALID
 */
export function parseTask(text: string): TaskStep[] {
  if (text.length > MAX_TEXT) throw invalid("its text", `${text.length} characters`, `at most ${MAX_TEXT}`);
  let document: unknown;
  try {
    document = parse(text, { maxAliasCount: 100, logLevel: "error" });
  } catch (cause) {
    throw invalid("its YAML", cause instanceof Error ? cause.message : String(cause), undefined, cause);
  }
  const result = taskSchema.safeParse(document);
  if (!result.success) {
    const [issue] = result.error.issues;
    throw invalid((issue?.path ?? []).map(String).join(".") || "its YAML", issue?.message ?? "unknown");
  }
  const task = result.data;
  const timeout = task.stepTimeout || DEFAULT_STEP_TIMEOUT;
  const steps = task.steps.map((step, index) => ({ ...step, id: step.id ?? `acb_step_${index}` }));
  return sortSteps(steps).map((step) => ({
    id: step.id,
    action: actionOf(step),
    env: mergeEnv(task.env ?? [], step.env ?? []),
    workingDirectory: step.workingDirectory ?? task.workingDirectory,
    timeoutSeconds: step.timeout || timeout,
    startDelaySeconds: step.startDelay ?? 0,
    retries: step.retries ?? 0,
    retryDelaySeconds: step.retryDelay || DEFAULT_RETRY_DELAY,
    ignoreErrors: step.ignoreErrors ?? false,
  }));
}

function actionOf({ id, cmd, build, push, entryPoint }: StepFields & { readonly id: string }): TaskStep["action"] {
  const kinds = [cmd, build, push].filter((kind) => kind !== undefined).length;
  if (kinds !== 1) throw invalid(`step ${id}`, `${kinds} of them`, "one of cmd, build and push");
  if (cmd !== undefined) return { kind: "cmd", command: cmd, ...(entryPoint && { entryPoint }) };
  if (build !== undefined) return { kind: "build", command: build };
  return { kind: "push", images: push ?? [] };
}

/** A step's own variables win over the task's. */
function mergeEnv(task: readonly string[], step: readonly string[]): string[] {
  const nameOf = (pair: string): string => pair.slice(0, pair.indexOf("="));
  const own = new Set(step.map(nameOf));
  return [...task.filter((pair) => !own.has(nameOf(pair))), ...step];
}

/** Orders steps so that each comes after those it waits for; without `when` a step waits for the one before it. */
function sortSteps<Step extends StepFields & { readonly id: string }>(steps: readonly Step[]): Step[] {
  const ids = new Set(steps.map(({ id }) => id));
  if (ids.size < steps.length) throw invalid("steps", "an id twice", "distinct ids");
  const waits = new Map(
    steps.map(({ id, when }, index): [string, Set<string>] => {
      if (when === undefined) return [id, new Set(index === 0 ? [] : [(steps[index - 1] as Step).id])];
      if (when.includes("-") && when.length > 1) throw invalid(`step ${id}`, "when: - beside others", "- alone");
      const unknown = when.find((other) => other !== "-" && !ids.has(other));
      if (unknown !== undefined) throw invalid(`step ${id}`, `when: ${unknown}`, "the id of a step");
      return [id, new Set(when.filter((other) => other !== "-"))];
    }),
  );
  const sorted: Step[] = [];
  const done = new Set<string>();
  while (sorted.length < steps.length) {
    const next = steps.find(({ id }) => !done.has(id) && [...(waits.get(id) ?? [])].every((other) => done.has(other)));
    if (next === undefined) throw invalid("steps", "a circle of when", "an order");
    sorted.push(next);
    done.add(next.id);
  }
  return sorted;
}
