// Runs the checks and the test suite; `--soak` runs the full counts of test/counts.ts instead of one tenth.
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const args = process.argv.slice(2);
const soak = args.includes("--soak");
const passed = args.filter((arg) => arg !== "--soak");

function run(script: string, scriptArgs: string[], env: Record<string, string> = {}): void {
  const result = spawnSync(process.execPath, [join(root, script), ...scriptArgs], {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, ...env },
  });
  if (result.status !== 0) process.exit(result.status ?? 3);
}

if (!soak && passed.length === 0) run("scripts/check.ts", []);
run("node_modules/typescript/bin/tsc", ["-p", "tsconfig.build.json"]);
run("node_modules/vitest/vitest.mjs", ["run", ...passed], { LIGHTER_SOAK: soak ? "1" : "" });
