// Carries a run out on an agent: login, source, steps, and the log of it all.
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import type { Clock } from "../clock.ts";
import type { CreateImageBuilder } from "./build/image-builder.ts";
import {
  type DockerLogin,
  type IdentityTokens,
  logIn,
  logInToCustomRegistries,
  writeDockerConfig,
} from "./docker-login.ts";
import { extractSource } from "./extract-source.ts";
import type { RunFault } from "./faults.ts";
import { formatImageName, parseImageName } from "./image-names.ts";
import { readContext } from "./parse-build-command.ts";
import { createRedactor } from "./redact.ts";
import { decideLogin, type RegistryRules } from "./registry-rules.ts";
import { RunError } from "./run-error.ts";
import type { FinalStatus, OutputImage, RunRecord } from "./run-record.ts";
import { type StepCommands, type StepContext, runSteps } from "./run-steps.ts";
import type { QuickRequest, Setting } from "./run-types.ts";
import type { StopReason } from "./scheduler.ts";
import { parseTask } from "./task-file.ts";
import type { TaskStorage } from "./task-storage.ts";
import { fillTemplate } from "./template.ts";

/** What all runs share. */
export interface AgentOptions {
  readonly clock: Clock;
  /** The host of the registry, also its login server. */
  readonly registry: string;
  /** The registry's ARM name. */
  readonly registryName: string;
  readonly rules: () => RegistryRules;
  readonly tokens: IdentityTokens;
  readonly commands: StepCommands;
  readonly storage: TaskStorage;
  readonly createBuilder: CreateImageBuilder;
  readonly folder: string;
  /** Keeps a run's folder after its end, to look at. */
  readonly keepFolders: boolean;
}

/** How a run ended. */
export interface RunOutcome {
  readonly status: FinalStatus;
  readonly errorMessage?: string;
  readonly outputImages: readonly OutputImage[];
}

/** Values of the metadata `complete` of a log, as `az acr` reads them. */
const LOG_OUTCOMES: Readonly<Record<FinalStatus, string>> = {
  Succeeded: "successful",
  Failed: "failed",
  Canceled: "canceled",
  Error: "internalerror",
  Timeout: "timedout",
};

interface RunLog {
  write(text: string): void;
  line(text: string): void;
  hide(...secrets: readonly string[]): void;
  complete(status: FinalStatus): Promise<void>;
}

function openLog(run: RunRecord, fault: RunFault | undefined, { clock, storage }: AgentOptions): RunLog {
  const blob = fault?.kind === "no-log" ? undefined : storage.openLog(run.runId);
  const redactor = createRedactor();
  const write = (text: string): void => blob?.write(redactor.push(text));
  return {
    write,
    line: (text) =>
      write(`${new Date(clock.now()).toISOString().replaceAll("-", "/").slice(0, 19).replace("T", " ")} ${text}\n`),
    hide: (...secrets) => redactor.add(...secrets),
    async complete(status) {
      blob?.write(redactor.flush());
      await blob?.complete(LOG_OUTCOMES[status]);
    },
  };
}

/**
 * Carries out a run; never rejects. `running` is called as its first step starts. The log is complete before the
 * promise resolves.
 */
export async function executeRun(
  run: RunRecord,
  fault: RunFault | undefined,
  options: AgentOptions,
  signal: AbortSignal,
  running: () => void,
): Promise<RunOutcome> {
  const log = openLog(run, fault, options);
  const startedMs = options.clock.now();
  const outcome = await attempt(run, fault, options, signal, running, log);
  const seconds = Math.round((options.clock.now() - startedMs) / 1_000);
  const { status, errorMessage } = outcome;
  const words = {
    Succeeded: `was successful after ${seconds}s`,
    Failed: `failed after ${seconds}s. Error: ${errorMessage ?? ""}`,
    Canceled: `was canceled after ${seconds}s`,
    Timeout: `timed out after ${seconds}s`,
    Error: `ended with an internal error after ${seconds}s. Error: ${errorMessage ?? ""}`,
  };
  log.write(`\nRun ID: ${run.runId} ${words[status]}\n`);
  await log.complete(status);
  return outcome;
}

async function attempt(
  run: RunRecord,
  fault: RunFault | undefined,
  options: AgentOptions,
  signal: AbortSignal,
  running: () => void,
  log: RunLog,
): Promise<RunOutcome> {
  const folder = join(options.folder, run.runId);
  try {
    if (fault?.kind === "error") {
      const errorMessage = fault.message ?? "internal error";
      return { status: "Error", errorMessage, outputImages: [] };
    }
    const outputImages = await carryOut(run, fault, options, folder, signal, running, log);
    signal.throwIfAborted();
    return { status: "Succeeded", outputImages };
  } catch (error) {
    if (signal.aborted) {
      const status = (signal.reason as StopReason) === "timeout" ? "Timeout" : "Canceled";
      return { status, errorMessage: status === "Timeout" ? "run timed out" : "run canceled", outputImages: [] };
    }
    if (!(error instanceof RunError)) {
      const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
      log.line(message);
      return { status: "Error", errorMessage: error instanceof Error ? error.message : message, outputImages: [] };
    }
    log.line(error.message);
    return { status: "Failed", errorMessage: "failed during run, err: exit status 1", outputImages: [] };
  } finally {
    if (!options.keepFolders) removeFolder(folder);
  }
}

/** What cannot be removed stays: that is no reason for a run to end otherwise than it did. */
function removeFolder(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  } catch (error) {
    process.emitWarning(`${folder} stays: ${String(error)}`);
  }
}

async function carryOut(
  run: RunRecord,
  fault: RunFault | undefined,
  options: AgentOptions,
  folder: string,
  signal: AbortSignal,
  running: () => void,
  log: RunLog,
): Promise<readonly OutputImage[]> {
  const { request } = run;
  const settings = [
    ...("values" in request ? (request.values ?? []) : []),
    ...("arguments" in request ? (request.arguments ?? []) : []),
  ];
  log.hide(...settings.filter(({ isSecret }) => isSecret === true).map(({ value }) => value));
  const [home, workspace, images] = ["home", "workspace", "images"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  for (const path of [home, workspace, images]) mkdirSync(path, { recursive: true });

  log.line("Setting up Docker configuration...");
  const logins = await logInEverywhere(run, options, log);
  const authFile = writeDockerConfig(home, logins);
  log.line("Successfully set up Docker configuration");

  if (request.sourceLocation !== undefined && request.sourceLocation !== "") {
    log.line("Downloading source code...");
    const archive = join(folder, "source.tar.gz");
    await options.storage.download(request.sourceLocation, archive);
    await extractSource(archive, workspace);
    log.line("Finished downloading source code");
  }
  signal.throwIfAborted();
  const platform = platformOf(request);
  const builder = options.createBuilder({
    folder: images,
    authFile,
    env: { PATH: process.env["PATH"] ?? "", HOME: home },
    log: log.write,
    now: () => options.clock.now(),
  });
  const context: StepContext = {
    clock: options.clock,
    registry: options.registry,
    commands: options.commands,
    builder,
    platform,
    home,
    workspace,
    log: log.write,
    failingStep: fault?.kind === "failed" ? (fault.step ?? 0) : undefined,
  };
  try {
    if (request.type === "DockerBuildRequest") return await buildImage(request, context, signal, running, log);
    const steps = parseTask(fillTask(run, request, options, workspace));
    running();
    return await runSteps(steps, context, signal);
  } finally {
    await builder.close();
  }
}

async function buildImage(
  request: Extract<QuickRequest, { readonly type: "DockerBuildRequest" }>,
  context: StepContext,
  signal: AbortSignal,
  running: () => void,
  log: RunLog,
): Promise<OutputImage[]> {
  const { registry, builder, platform, workspace } = context;
  const source = readContext(workspace, ".", request.dockerFilePath);
  const names = (request.imageNames ?? []).map((name) => parseImageName(name, registry));
  running();
  if (context.failingStep === 0) {
    throw new RunError("STEP_FAILED", { operation: "run step", subject: "build", got: "exit status 1" });
  }
  log.line("Launching build");
  await builder.build(
    {
      ...source,
      names: names.map(formatImageName),
      target: request.target || undefined,
      arguments: request.arguments ?? [],
      platform,
    },
    signal,
  );
  const pushed: OutputImage[] = [];
  for (const name of request.isPushEnabled === false ? [] : names) {
    if (context.failingStep === 1) {
      throw new RunError("STEP_FAILED", { operation: "run step", subject: "push", got: "exit status 1" });
    }
    signal.throwIfAborted();
    log.line(`Pushing image: ${formatImageName(name)}, attempt 1`);
    const digest = await builder.push(formatImageName(name), signal);
    log.line(`Successfully pushed image: ${formatImageName(name)}, digest: ${digest}`);
    pushed.push({ registry: name.registry, repository: name.repository, tag: name.tag, digest });
  }
  return pushed;
}

async function logInEverywhere(run: RunRecord, options: AgentOptions, log: RunLog): Promise<DockerLogin[]> {
  const { registry, tokens } = options;
  const { credentials, agentPoolName } = run.request;
  const decision = decideLogin(options.rules(), {
    loginServer: registry,
    loginMode: credentials?.sourceRegistry?.loginMode ?? undefined,
    identity: credentials?.sourceRegistry?.identity ?? credentials?.customRegistries?.[registry]?.identity ?? undefined,
    hasSystemIdentity: run.hasSystemIdentity,
    inAgentPool: agentPoolName !== undefined,
  });
  if (decision.kind === "denied") {
    const got = `ran out of retries: failed to set docker credentials: ${decision.reason}`;
    throw new RunError("LOGIN_DENIED", { operation: "log in to", subject: registry, got });
  }
  const logins: DockerLogin[] = [];
  if (decision.kind === "identity") {
    log.line(`Logging in to registry: ${registry}`);
    const login = await logIn(registry, decision.identity, tokens);
    if (login !== undefined) logins.push(login);
    log.line(`Successfully logged into ${registry}`);
  }
  logins.push(...(await logInToCustomRegistries(credentials, tokens, registry)));
  log.hide(
    ...logins.flatMap(({ username, password }) => [
      password,
      Buffer.from(`${username}:${password}`).toString("base64"),
    ]),
  );
  return logins;
}

function platformOf({ platform }: QuickRequest): StepContext["platform"] {
  const architecture = platform.architecture ?? "amd64";
  return {
    os: platform.os.toLowerCase(),
    architecture: architecture === "x86" ? "386" : architecture,
    ...(platform.variant === undefined ? {} : { variant: platform.variant }),
  };
}

/** The text of a task, its templates filled. */
function fillTask(
  run: RunRecord,
  request: Exclude<QuickRequest, { readonly type: "DockerBuildRequest" }>,
  { registry, registryName, clock }: AgentOptions,
  workspace: string,
): string {
  const { platform } = request;
  const [task, defaults] =
    request.type === "EncodedTaskRunRequest"
      ? [request.encodedTaskContent, request.encodedValuesContent ?? ""]
      : [
          readSource(workspace, request.taskFilePath),
          request.valuesFilePath === undefined ? "" : readSource(workspace, request.valuesFilePath),
        ];
  return fillTemplate(task, {
    run: {
      ID: run.runId,
      Registry: registry,
      RegistryName: registryName,
      Date: new Date(clock.now()).toISOString().replaceAll(/\D/g, "").slice(0, 14),
      OS: platform.os.toLowerCase(),
      Architecture: platform.architecture ?? "amd64",
      TaskName: run.taskName ?? "quicktask",
      SharedVolume: "/workspace",
    },
    values: { ...readValues(defaults), ...listValues(request.values ?? []) },
  });
}

function readSource(workspace: string, path: string): string {
  return readContext(workspace, ".", path).dockerfile;
}

const listValues = (values: readonly Setting[]): Record<string, string> =>
  Object.fromEntries(values.map(({ name, value }) => [name, value]));

function readValues(text: string): Record<string, string> {
  let values: unknown;
  try {
    values = parse(text, { maxAliasCount: 100, logLevel: "error" }) ?? {};
  } catch (cause) {
    throw new RunError("TASK_INVALID", { operation: "read values", subject: "YAML", got: String(cause), cause });
  }
  if (typeof values !== "object" || values === null || Array.isArray(values)) {
    throw new RunError("TASK_INVALID", { operation: "read values", subject: "YAML", want: "names and values" });
  }
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, String(value)]));
}
