// Starts a real Docker daemon of its own: temporary folders, no networking, gone without a trace afterwards.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { run } from "./run.ts";
import { findTool } from "./tools.ts";

/** A running daemon. */
export interface Dockerd {
  /** Runs the docker client against it and returns its standard output. */
  docker(...args: readonly string[]): Promise<string>;
  close(): Promise<void>;
}

const STOP_DEADLINE_MS = 20_000;

/**
 * Decides whether a test with a daemon may be skipped: returns the reason, or undefined when this process is root.
 *
 * In CI (`CI=true`) it throws instead, so that nothing is skipped silently.
 */
export function missingRoot(): string | undefined {
  if (process.getuid?.() === 0) return undefined;
  const reason = "needs root to run dockerd";
  if (process.env["CI"] === "true") throw new Error(`a test ${reason}`);
  process.stderr.write(`skipped: a test file ${reason}\n`);
  return reason;
}

/** Starts a daemon; rejects with its log when it does not come up. */
export async function startDockerd(): Promise<Dockerd> {
  // A socket's path may have 107 characters, so the folder is directly under the temporary one.
  const folder = mkdtempSync(join(tmpdir(), "ltr-dockerd-"));
  const socket = join(folder, "docker.sock");
  const child = spawn(
    findTool("dockerd") ?? "dockerd",
    [
      "--iptables=false",
      "--ip6tables=false",
      "--bridge=none",
      "--storage-driver=overlay2",
      `--data-root=${join(folder, "data")}`,
      `--exec-root=${join(folder, "exec")}`,
      `--pidfile=${join(folder, "dockerd.pid")}`,
      `--host=unix://${socket}`,
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  const exited = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const log: string[] = [];
  const cleanUp = async (): Promise<void> => {
    for (const mount of mountsUnder(folder)) await run("umount", ["-l", mount]);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await new Promise<void>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`dockerd exited with ${code}:\n${log.join("\n")}`)));
      createInterface(child.stderr).on("line", (line) => {
        log.push(line);
        if (log.length > 100) log.shift();
        if (line.includes("API listen on")) resolve();
      });
    });
  } catch (error) {
    await cleanUp();
    throw error;
  }
  return {
    docker: (...args) => run(findTool("docker") ?? "docker", ["--host", `unix://${socket}`, ...args]),
    async close() {
      const killer = setTimeout(() => child.kill("SIGKILL"), STOP_DEADLINE_MS);
      child.kill("SIGTERM");
      await exited;
      clearTimeout(killer);
      await cleanUp();
    },
  };
}

/** What is still mounted below a folder, innermost first. */
function mountsUnder(folder: string): string[] {
  return readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "")
    .filter((path) => path.startsWith(`${folder}/`))
    .sort((a, b) => b.length - a.length);
}
