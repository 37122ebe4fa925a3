// The functions host as a child process that can be killed and started again on the same port and history.
import { spawn, type ChildProcess, type ChildProcessWithoutNullStreams } from "node:child_process";
import { createWriteStream } from "node:fs";
import { extname, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { isLighterError, LighterError } from "../src/core/errors.ts";
import type { ProcessOptions } from "./functions-host/main.ts";

/** How often, and after how many ms of wall time, a restart asks for its port again while somebody else holds it. */
const PORT_ATTEMPTS = 20;
const PORT_RETRY_MS = 250;

/** A functions host that outlives its process. */
export interface HostProcess {
  /** The same before and after a restart. */
  readonly url: string;
  /** A host key: opens every function. */
  readonly key: string;
  /** Kills the process with SIGKILL, at whatever it does. */
  kill(): Promise<void>;
  /** Starts a new process over the history that a killed one left. */
  restart(): Promise<void>;
  /** Ends it in good order. */
  close(): Promise<void>;
}

interface Started {
  readonly url: string;
  readonly keys: { readonly host: Readonly<Record<string, string>> };
}

/** What to run, and the file that takes the process's log. */
export interface HostProcessOptions extends ProcessOptions {
  readonly logFile: string;
}

/**
 * Starts a host.
 * @throws LighterError HOST_FAILED when the process ends before it serves
 */
export async function startHostProcess({ logFile, ...options }: HostProcessOptions): Promise<HostProcess> {
  const script = join(import.meta.dirname, "functions-host", `main${extname(import.meta.filename)}`);
  const log = createWriteStream(logFile, { flags: "a" });
  let child: ChildProcess;
  let exited: Promise<void>;

  async function start(port: number): Promise<Started> {
    const started = spawn(process.execPath, ["--enable-source-maps", script, "--options", "-"], {
      // Over the fourth channel nothing is said: its end tells the host that this process is gone.
      stdio: ["pipe", "pipe", "pipe", "ipc"],
      cwd: options.app.folder,
    }) as ChildProcessWithoutNullStreams;
    child = started;
    exited = new Promise((resolve) => started.once("exit", () => resolve()));
    let tail = "";
    started.stderr.on("data", (chunk: Buffer) => {
      log.write(chunk);
      tail = (tail + chunk.toString()).slice(-2_000);
    });
    started.stdin.end(JSON.stringify({ ...options, port }));
    return new Promise<Started>((resolve, reject) => {
      createInterface(started.stdout).once("line", (line) => resolve(JSON.parse(line) as Started));
      started.once("exit", (code, signal) =>
        reject(
          new LighterError("HOST_FAILED", {
            operation: "start functions host",
            subject: options.app.folder,
            got: `exit ${code ?? signal}: ${tail.trim()}`,
            want: "a host that serves",
          }),
        ),
      );
    });
  }

  const { url, keys } = await start(options.port ?? 0);
  return {
    url,
    key: Object.values(keys.host)[0] ?? "",
    async kill() {
      child.kill("SIGKILL");
      await exited;
    },
    async restart() {
      for (let attempt = 1; ; attempt++) {
        try {
          await start(Number(new URL(url).port));
          return;
        } catch (error) {
          // Another process's outgoing connection may hold the port for a moment: it is one of those given to anybody.
          const taken = isLighterError(error, "HOST_FAILED") && error.message.includes("EADDRINUSE");
          if (!taken || attempt === PORT_ATTEMPTS) throw error;
          await delay(PORT_RETRY_MS);
        }
      }
    },
    async close() {
      child.kill("SIGTERM");
      await exited;
      await new Promise<void>((resolve) => log.end(() => resolve()));
    },
  };
}
