// Runs a program to its end and returns what it wrote.
import { spawn } from "node:child_process";

/** How to run a program: `input` goes to its stdin, `env` is added to ours. */
export interface RunOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** What a finished program left: its exit code, or the signal that ended it, and its output. */
export interface RunResult {
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program and resolves when it has ended, however it has. */
export function tryRun(program: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { input = "", env = {}, cwd } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: { ...process.env, ...env }, ...(cwd === undefined ? {} : { cwd }) });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
    child.once("error", reject);
    child.once("close", (code, signal) =>
      resolve({
        code: code ?? signal ?? "unknown",
        stdout: Buffer.concat(out).toString(),
        stderr: Buffer.concat(err).toString(),
      }),
    );
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}

/** Runs a program that must succeed and returns its standard output; otherwise rejects with its standard error. */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await tryRun(program, args, options);
  if (code === 0) return stdout;
  throw new Error(`${program} ${args.join(" ")} ended with ${code}:\n${stderr || stdout}`);
}
