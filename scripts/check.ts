// Runs every static check (types, lint, format, unused code); `--fix` mends what the tools can mend.
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const fix = process.argv.includes("--fix");
const bin = (name: string): string => join(root, "node_modules", ".bin", name);

const tools: [string, string[]][] = [
  ["tsc", ["-p", "tsconfig.json"]],
  ["oxlint", ["--type-aware", "--deny-warnings", ...(fix ? ["--fix"] : [])]],
  ["oxfmt", fix ? ["."] : ["--check", "."]],
  ["knip", []],
];

let failed = false;
for (const [tool, args] of tools) {
  const { status } = spawnSync(bin(tool), args, { cwd: root, stdio: "inherit" });
  if (status !== 0) {
    process.stderr.write(`check: ${tool} failed with exit code ${status}\n`);
    failed = true;
  }
}
process.exit(failed ? 1 : 0);
