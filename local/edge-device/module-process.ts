// Runs an image's entrypoint as a child process whose program, arguments and folders are those of the unpacked rootfs.
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readSync, readlinkSync, realpathSync, statSync } from "node:fs";
import { constants } from "node:os";
import type { CreateOptions } from "./deployment.ts";
import type { InstalledImage } from "./image-store.ts";
import { PullError } from "./pull-error.ts";
import { resolveInRoot } from "./rootfs.ts";

/** What is to run. */
export interface ProcessOptions {
  readonly image: InstalledImage;
  readonly options: CreateOptions;
  readonly env: Readonly<Record<string, string>>;
  /** Milliseconds of real time between SIGTERM and SIGKILL. */
  readonly killAfterMs: number;
}

/** A running module. */
export interface ModuleProcess {
  readonly pid: number;
  /** Resolves to the exit code once the process has ended; 128 + the signal's number when a signal ended it. */
  readonly exited: Promise<number>;
  /** Ends the process, with force when it does not listen. */
  stop(): Promise<number>;
  /** The last 64 KB of what it wrote to stdout and stderr. */
  logs(): string;
}

/** A command line whose paths are real. */
interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
}

const LOG_LIMIT = 64 << 10;
const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** How long to wait for the rest of a process's output once it has ended. */
const DRAIN_MS = 500;

/**
 * Works out the command of an image. There is no container runtime: the program, the interpreter of a script, and every
 * argument or part of an environment value (split at `:`) that is an absolute path of the rootfs are replaced by real
 * paths; other paths that the program opens itself are the host's, and so are its dynamic linker and libraries.
 * @throws PullError EXECUTABLE_MISSING
 */
function resolveCommand({ image, options, env }: Omit<ProcessOptions, "killAfterMs">): Command {
  const { rootfs, config } = image;
  const entrypoint = options.Entrypoint ?? config.config?.Entrypoint ?? [];
  // As Docker has it, a replaced entrypoint drops the image's own arguments.
  const cmd = options.Cmd ?? (options.Entrypoint === undefined ? (config.config?.Cmd ?? []) : []);
  const [program, ...args] = [...entrypoint, ...cmd];
  const variables: Record<string, string> = { PATH: DEFAULT_PATH };
  for (const pair of [...(config.config?.Env ?? []), ...(options.Env ?? [])]) {
    const equals = pair.indexOf("=");
    if (equals > 0) variables[pair.slice(0, equals)] = pair.slice(equals + 1);
  }
  Object.assign(variables, env);

  const missing = (got: string): PullError =>
    new PullError("EXECUTABLE_MISSING", { operation: "start", subject: image.reference, got });
  const workingDir = options.WorkingDir || config.config?.WorkingDir || "/";
  const find = (name: string): string => {
    const candidates = name.startsWith("/")
      ? [name]
      : name.includes("/")
        ? [`${workingDir}/${name}`]
        : (variables["PATH"] as string).split(":").map((folder) => `${folder}/${name}`);
    for (const candidate of candidates) {
      const path = resolveInRoot(rootfs, candidate);
      const stat = path === undefined ? undefined : statSync(path);
      if (path !== undefined && stat?.isFile() === true && (stat.mode & 0o111) !== 0) return path;
    }
    throw missing(`no executable ${JSON.stringify(name)} in the image`);
  };
  if (program === undefined) throw missing("neither an entrypoint nor a command");
  const file = find(program);
  const interpreter = readInterpreter(file);
  const [first, ...rest] = interpreter?.[0] === "/usr/bin/env" ? interpreter.slice(1) : (interpreter ?? []);
  const mapped = args.map((argument) => mapPath(rootfs, argument));
  const command =
    first === undefined ? { file, args: mapped } : { file: find(first), args: [...rest, file, ...mapped] };
  const mappedEnv = Object.entries(variables).map(([key, value]) => [
    key,
    value
      .split(":")
      .map((part) => mapPath(rootfs, part))
      .join(":"),
  ]);
  return {
    ...command,
    cwd: enterFolder(rootfs, workingDir),
    env: Object.fromEntries(mappedEnv) as Record<string, string>,
  };
}

function mapPath(rootfs: string, text: string): string {
  return text.startsWith("/") && text !== "/" ? (resolveInRoot(rootfs, text) ?? text) : text;
}

/** The real path of a working directory, created where the image has none, as Docker does. */
function enterFolder(rootfs: string, path: string): string {
  let real = rootfs;
  let inside = "";
  for (const name of path.split("/").filter((part) => part !== "" && part !== "." && part !== "..")) {
    inside += `/${name}`;
    const found = resolveInRoot(rootfs, inside);
    real = found ?? `${real}/${name}`;
    if (found === undefined) mkdirSync(real);
  }
  return real;
}

/** The words after `#!`, or undefined when the file is not a script. */
function readInterpreter(file: string): string[] | undefined {
  const buffer = Buffer.alloc(256);
  const descriptor = openSync(file, "r");
  try {
    const length = readSync(descriptor, buffer);
    const line = buffer.toString("latin1", 0, length).split("\n")[0] as string;
    return line.startsWith("#!") ? line.slice(2).trim().split(/\s+/) : undefined;
  } finally {
    closeSync(descriptor);
  }
}

/** Starts the process; rejects when the system will not start it. @throws PullError EXECUTABLE_MISSING */
export async function startProcess(options: ProcessOptions): Promise<ModuleProcess> {
  const command = resolveCommand(options);
  const child = spawn(command.file, command.args, {
    cwd: command.cwd,
    env: command.env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let tail = Buffer.alloc(0);
  const keep = (chunk: Buffer): void => {
    tail = Buffer.concat([tail, chunk]).subarray(-LOG_LIMIT);
  };
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  const exited = waitForExit(child);
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (cause) => {
      const facts = { operation: "start", subject: options.image.reference, got: String(cause), cause };
      reject(new PullError("EXECUTABLE_MISSING", facts));
    });
  });
  return {
    // Known once it has spawned.
    pid: child.pid as number,
    exited,
    async stop() {
      child.kill("SIGTERM");
      const force = setTimeout(() => child.kill("SIGKILL"), options.killAfterMs);
      const code = await exited;
      clearTimeout(force);
      return code;
    },
    logs: () => tail.toString("utf8"),
  };
}

/**
 * Ends a process that an earlier run of the device left behind because it was killed itself. Only a process that works
 * inside `folder` is one; where the system does not say (there is no /proc), nothing is ended.
 */
export function endStray(pid: number, folder: string): void {
  try {
    if (readlinkSync(`/proc/${pid}/cwd`).startsWith(`${realpathSync(folder)}/`)) process.kill(pid, "SIGKILL");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT" && code !== "ESRCH" && code !== "EACCES") throw error;
  }
}

function waitForExit(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    child.once("exit", (code, signal) => {
      const exitCode = code ?? 128 + (signal === null ? 0 : constants.signals[signal]);
      // A grandchild may keep the pipes open for ever.
      const timer = setTimeout(() => resolve(exitCode), DRAIN_MS);
      child.once("close", () => {
        clearTimeout(timer);
        resolve(exitCode);
      });
    });
  });
}
