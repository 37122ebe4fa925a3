// Starts the embedded stack as a child process and reads the JSON lines it reports.
import { spawn } from "node:child_process";
import { extname, join } from "node:path";
import { createInterface } from "node:readline";

/** A running child. */
export interface LocalProcess {
  /** What it reports, one value a line, until it ends. */
  readonly events: AsyncIterable<unknown>;
  /** Asks it to end; it also ends when this process does, because its input closes. */
  stop(): void;
  /** Its exit code, once it has ended. */
  readonly exited: Promise<number>;
}

/** Starts `local/main` with the given arguments; its warnings and errors go to stderr. */
export function startLocalProcess(args: readonly string[]): LocalProcess {
  const script = join(import.meta.dirname, "..", "..", "local", `main${extname(import.meta.filename)}`);
  const child = spawn(process.execPath, ["--enable-source-maps", script, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
    // A terminal sends Ctrl-C to the whole group; the child is told in its own time instead.
    detached: true,
  });
  const lines = createInterface(child.stdout);
  return {
    events: (async function* () {
      for await (const line of lines) yield JSON.parse(line) as unknown;
    })(),
    stop: () => child.stdin.end(),
    exited: new Promise((resolve) => child.once("exit", (code) => resolve(code ?? 3))),
  };
}
