// Runs a whole program, children included, and reads its cost from the kernel's own accounts.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findTool } from "../../test/support/tools.ts";

/** What a run cost: CPU is user + system time of the process and every child it waited for. */
export interface ProcessCost {
  readonly wallSeconds: number;
  readonly cpuSeconds: number;
  /** The largest resident set that any one process of the tree reached. */
  readonly peakRssBytes: number;
  readonly output: string;
}

/**
 * Runs a program to its end through GNU time, which takes wait4's accounts of the tree and keeps this process's own
 * memory out of them; rejects with the program's output when it fails.
 */
export async function measureProcess(
  program: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<ProcessCost> {
  const time = findTool("time");
  if (time === undefined) throw new Error("measuring a process needs GNU time (Debian: apt-get install time)");
  const folder = mkdtempSync(join(tmpdir(), "lighter-measure-"));
  const account = join(folder, "account");
  try {
    const started = performance.now();
    const { code, output } = await runToEnd(
      time,
      ["--quiet", "--format=%U %S %M", `--output=${account}`, program, ...args],
      environment,
    );
    const wallSeconds = (performance.now() - started) / 1000;
    if (code !== 0) throw new Error(`${program} ${args.join(" ")} exited with ${code}:\n${output}`);
    const [user = Number.NaN, system = Number.NaN, kilobytes = Number.NaN] = readFileSync(account, "utf8")
      .split(/\s+/)
      .map(Number);
    return { wallSeconds, cpuSeconds: user + system, peakRssBytes: kilobytes * 1024, output };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runToEnd(
  program: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<{ code: number | null; output: string }> {
  const child = spawn(program, args, { env: { ...process.env, ...environment }, stdio: ["ignore", "pipe", "pipe"] });
  const pieces: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (piece: Buffer) => pieces.push(piece));
  const code = await new Promise<number | null>((resolve, reject) => child.on("error", reject).on("close", resolve));
  return { code, output: Buffer.concat(pieces).toString() };
}
