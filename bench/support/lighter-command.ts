// The `lighter` command as users run it: compiled, as a process of its own, under the pinned Node.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { measureProcess, type ProcessCost } from "./measure-process.ts";

const root = resolve(import.meta.dirname, "../..");
const entry = resolve(root, "dist/src/cli/main.js");

/** Compiles src into dist, incrementally; throws with the compiler's messages when that fails. */
export function buildLighter(): void {
  const tsc = resolve(root, "node_modules/.bin/tsc");
  const { status, stdout } = spawnSync(tsc, ["-p", "tsconfig.build.json"], { cwd: root, encoding: "utf8" });
  if (status !== 0) throw new Error(`the build failed:\n${stdout}`);
  if (!existsSync(entry)) throw new Error(`the build made no ${entry}`);
}

/** Runs `lighter ARGS --json` to its end and measures it; `answer` is the JSON object it printed last. */
export async function measureLighter(
  args: readonly string[],
): Promise<ProcessCost & { readonly answer: Readonly<Record<string, unknown>> }> {
  const cost = await measureProcess(process.execPath, [entry, ...args, "--json"]);
  const lastLine = cost.output.trimEnd().split("\n").at(-1) ?? "";
  return { ...cost, answer: JSON.parse(lastLine) as Record<string, unknown> };
}
