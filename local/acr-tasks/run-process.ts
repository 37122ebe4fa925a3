// Runs a program of a step to its end, with a clean environment, and ends its whole tree when asked.
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { constants } from "node:os";

/** A program to run; `env` is all it sees. */
export interface ProgramOptions {
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly signal: AbortSignal;
  /** Hears stdout and stderr as they come. */
  readonly output: (text: string) => void;
}

/** How long a program's last output may take to arrive after its end: a grandchild can hold the pipe open for ever. */
const DRAIN_MS = 500;

/**
 * Runs a program and resolves to its exit code, 128 + the signal's number when a signal ended it, 127 when it cannot be
 * started. An abort kills the program and everything below it at once, as removing a container does.
 */
export function runProgram({ argv: [program, ...args], env, cwd, signal, output }: ProgramOptions): Promise<number> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve(128 + constants.signals.SIGKILL);
    // A group of its own, so that the group can be killed with what left the tree of parents.
    const child = spawn(program, args, { env: { ...env }, cwd, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    const kill = (): void => killTree(child.pid);
    signal.addEventListener("abort", kill, { once: true });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8");
      stream.on("data", (text: string) => output(text));
    }
    const finish = (code: number): void => {
      signal.removeEventListener("abort", kill);
      resolve(code);
    };
    child.once("error", (error) => {
      output(`${program}: ${error.message}\n`);
      finish(127);
    });
    child.once("exit", (code, ended) => {
      // What it left running goes with it, as processes of a container do.
      killTree(child.pid);
      const result = code ?? 128 + (ended === null ? 0 : constants.signals[ended]);
      const timer = setTimeout(() => finish(result), DRAIN_MS);
      child.once("close", () => {
        clearTimeout(timer);
        finish(result);
      });
    });
  });
}

/** Kills a process, its group, and its descendants where the system tells who they are. */
function killTree(pid: number | undefined): void {
  if (pid === undefined) return;
  for (const target of [...listDescendants(pid), pid, -pid]) {
    try {
      process.kill(target, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
}

/** Pids below `pid` by /proc; none on systems without it. */
function listDescendants(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readFolder("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const parent = parentOf(name);
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const found: number[] = [];
  const waiting = [pid];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const below = children.get(next) ?? [];
    found.push(...below);
    waiting.push(...below);
  }
  return found;
}

function readFolder(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function parentOf(pid: string): number | undefined {
  try {
    // The second field is the program's name in parentheses, which may hold anything.
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  } catch {
    return undefined;
  }
}
