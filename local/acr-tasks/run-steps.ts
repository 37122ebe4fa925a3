// Carries out the steps of a task on an agent: programs in place of containers, builds and pushes.
import { mkdirSync } from "node:fs";
import { join, normalize } from "node:path";
import type { Clock } from "../clock.ts";
import type { BuildRequest, ImageBuilder } from "./build/image-builder.ts";
import { formatImageName, parseImageName } from "./image-names.ts";
import { parseBuildCommand } from "./parse-build-command.ts";
import { runProgram } from "./run-process.ts";
import { RunError } from "./run-error.ts";
import type { OutputImage } from "./run-record.ts";
import { splitWords } from "./split-words.ts";
import type { TaskStep } from "./task-file.ts";

/**
 * What runs instead of an image: an argument vector that the step's words are added to, by repository for images of the
 * source registry, by `registry/repository` for others.
 */
export type StepCommands = Readonly<Record<string, readonly [string, ...string[]]>>;

/** The agent that steps run on. */
export interface StepContext {
  readonly clock: Clock;
  readonly registry: string;
  readonly commands: StepCommands;
  readonly builder: ImageBuilder;
  readonly platform: BuildRequest["platform"];
  /** `$HOME` of every step. */
  readonly home: string;
  readonly workspace: string;
  readonly log: (text: string) => void;
  /** The index of a step that fails without being started. */
  readonly failingStep: number | undefined;
}

/** Resolves to what the steps pushed. @throws RunError, or whatever the signal's abort makes of a step */
export async function runSteps(
  steps: readonly TaskStep[],
  context: StepContext,
  signal: AbortSignal,
): Promise<OutputImage[]> {
  const pushed: OutputImage[] = [];
  for (const [index, step] of steps.entries()) {
    const folder = step.workingDirectory ?? "";
    context.log(
      `Executing step ID: ${step.id}. Timeout(sec): ${step.timeoutSeconds}, Working directory: '${folder}'\n`,
    );
    const startedMs = context.clock.now();
    try {
      if (index === context.failingStep) {
        throw new RunError("STEP_FAILED", { operation: "run step", subject: step.id, got: "exit status 1" });
      }
      await pause(context.clock, step.startDelaySeconds * 1_000, signal);
      pushed.push(...(await retry(step, context, signal)));
    } catch (error) {
      if (signal.aborted || !step.ignoreErrors || !(error instanceof RunError)) throw error;
      context.log(`Step ID: ${step.id} encountered an error: ${error.message}, but is set to ignore errors\n`);
    }
    signal.throwIfAborted();
    const seconds = ((context.clock.now() - startedMs) / 1_000).toFixed(6);
    context.log(`Step ID: ${step.id} marked as successful (elapsed time in seconds: ${seconds})\n`);
  }
  return pushed;
}

function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (ms === 0 || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const cancel = clock.after(ms, resolve);
    signal.addEventListener(
      "abort",
      () => {
        cancel();
        resolve();
      },
      { once: true },
    );
  });
}

/** Only a program that ended with other than 0 is tried again. */
async function retry(step: TaskStep, context: StepContext, signal: AbortSignal): Promise<OutputImage[]> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await runInTime(step, context, signal);
    } catch (error) {
      const canRetry = error instanceof RunError && error.code === "STEP_FAILED" && attempt < step.retries;
      if (!canRetry || signal.aborted) throw error;
      context.log(`Step ID: ${step.id} failed, retrying in ${step.retryDelaySeconds} s\n`);
      await pause(context.clock, step.retryDelaySeconds * 1_000, signal);
      signal.throwIfAborted();
    }
  }
}

async function runInTime(step: TaskStep, context: StepContext, outer: AbortSignal): Promise<OutputImage[]> {
  const late = new AbortController();
  const cancelTimer = context.clock.after(step.timeoutSeconds * 1_000, () => late.abort());
  const signal = AbortSignal.any([outer, late.signal]);
  try {
    return await carryOut(step, context, signal);
  } catch (error) {
    outer.throwIfAborted();
    if (!late.signal.aborted) throw error;
    const got = `more than ${step.timeoutSeconds} s`;
    throw new RunError("STEP_TIMED_OUT", { operation: "run step", subject: step.id, got, cause: error });
  } finally {
    cancelTimer();
  }
}

async function carryOut(
  { id, action, env, workingDirectory }: TaskStep,
  context: StepContext,
  signal: AbortSignal,
): Promise<OutputImage[]> {
  const folder = folderOf(workingDirectory, context.workspace);
  switch (action.kind) {
    case "cmd": {
      const code = await runCommand(action, readEnv(env), folder, context, signal);
      signal.throwIfAborted();
      if (code === 0) return [];
      const got = `exit status ${code}`;
      throw new RunError("STEP_FAILED", { operation: "run step", subject: id, got, want: "exit status 0" });
    }
    case "build": {
      const request = parseBuildCommand(splitWords(action.command), folder, context);
      await context.builder.build(request, signal);
      return [];
    }
    default: {
      const pushed: OutputImage[] = [];
      for (const text of action.images) {
        const image = parseImageName(text, context.registry);
        const digest = await context.builder.push(formatImageName(image), signal);
        const { registry, repository, tag } = image;
        pushed.push({ registry, repository, tag, digest });
      }
      return pushed;
    }
  }
}

async function runCommand(
  action: Extract<TaskStep["action"], { readonly kind: "cmd" }>,
  env: Readonly<Record<string, string>>,
  cwd: string,
  context: StepContext,
  signal: AbortSignal,
): Promise<number> {
  const [image, ...words] = splitWords(action.command);
  if (image === undefined || image.startsWith("-")) {
    throw new RunError("COMMAND_INVALID", {
      operation: "run",
      subject: "cmd",
      got: image ?? "nothing",
      want: "an image",
    });
  }
  const command = findCommand(image, context);
  // Another entry point is another program of the image, which is not here.
  if (command === undefined || action.entryPoint !== undefined) {
    context.log(`Unable to find image '${image}' locally\n`);
    const got =
      action.entryPoint === undefined ? "pull access denied or not found" : `entry point ${action.entryPoint}`;
    throw new RunError("IMAGE_UNAVAILABLE", { operation: "pull", subject: image, got });
  }
  const [program, ...first] = command;
  context.log("Launching container\n");
  return await runProgram({
    argv: [program, ...first, ...words],
    env: { PATH: process.env["PATH"] ?? "", ...env, HOME: context.home },
    cwd,
    signal,
    output: context.log,
  });
}

function findCommand(image: string, { registry, commands }: StepContext): StepCommands[string] | undefined {
  const name = parseImageName(image, "docker.io");
  const key = name.registry === registry ? name.repository : `${name.registry}/${name.repository}`;
  return Object.hasOwn(commands, key) ? commands[key] : undefined;
}

/** The agent's shell reads `--env NAME=value` too, so that an unquoted blank would end the value. */
function readEnv(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const words = splitWords(pair);
      const [word = ""] = words;
      const equals = word.indexOf("=");
      if (words.length !== 1 || equals < 1) {
        const subject = pair.slice(0, pair.indexOf("="));
        throw new RunError("COMMAND_INVALID", { operation: "read env", subject, want: "one word" });
      }
      return [word.slice(0, equals), word.slice(equals + 1)];
    }),
  );
}

/** A step's folder: below the workspace, which is `/workspace` for the step. */
function folderOf(workingDirectory: string | undefined, workspace: string): string {
  const inside = normalize(`/${(workingDirectory ?? "").replace(/^\/workspace(?=\/|$)/, "")}`);
  const folder = join(workspace, inside);
  mkdirSync(folder, { recursive: true });
  return folder;
}
