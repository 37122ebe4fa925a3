// Runs a part of Lighter under the pinned Node, after installing and building what is missing; works from Node 20 on.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const MINIMUM_NODE = [22, 18];

/** Fails with a sentence a newcomer can act on, never with a stack trace. */
function fail(message) {
  process.stderr.write(`lighter: ${message}\n`);
  process.exit(3);
}

function lockfileStamp() {
  return createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
}

/** Runs `npm ci` when node_modules is absent or belongs to another lockfile. */
function ensureInstalled() {
  const stampFile = join(root, "node_modules", ".lighter-lockfile");
  const stamp = lockfileStamp();
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) return;
  process.stderr.write("lighter: installing dependencies (npm ci), about a minute …\n");
  const npm = spawnSync(
    "npm",
    ["ci", "--include=dev", "--include=optional", "--no-audit", "--no-fund", "--loglevel=error"],
    {
      cwd: root,
      stdio: ["ignore", 2, 2],
    },
  );
  if (npm.status !== 0)
    fail(`npm ci failed with ${npm.error?.message ?? `exit code ${npm.status}`}; see its output above`);
  writeFileSync(stampFile, stamp);
}

/** The path of a Node that can run TypeScript and node:sqlite: the pinned one, else the running one if new enough. */
function pinnedNode() {
  const local = join(root, "node_modules", ".bin", process.platform === "win32" ? "node.cmd" : "node");
  if (existsSync(local)) return local;
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > MINIMUM_NODE[0] || (major === MINIMUM_NODE[0] && minor >= MINIMUM_NODE[1])) return process.execPath;
  return fail(
    `Node ${process.versions.node} is too old and npm has no pinned Node 24 for ${process.platform}-${process.arch}; install Node 24`,
  );
}

function newestSource() {
  const listed = spawnSync(
    "find",
    [
      "src",
      "local",
      "tsconfig.json",
      "tsconfig.build.json",
      "package-lock.json",
      "-type",
      "f",
      "-newer",
      "dist/.built",
    ],
    { cwd: root, encoding: "utf8" },
  );
  return listed.status !== 0 || listed.stdout.trim() !== "";
}

/** Compiles src and local into dist when any source is newer than the last build. */
function ensureBuilt(node) {
  const marker = join(root, "dist", ".built");
  if (existsSync(marker) && statSync(marker).isFile() && !newestSource()) return;
  const tsc = spawnSync(node, [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", "tsconfig.build.json"], {
    cwd: root,
    stdio: ["ignore", 2, 2],
  });
  if (tsc.status !== 0) fail("the build failed; see the compiler's messages above");
  writeFileSync(marker, "");
}

/** Replaces this process by the chosen Node, passing signals and the exit code through. */
function exec(node, args) {
  const env = {
    ...process.env,
    PATH: `${join(root, "node_modules", ".bin")}:${process.env.PATH ?? ""}`,
    NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ""} --disable-warning=ExperimentalWarning`.trim(),
  };
  const child = spawn(node, args, { stdio: "inherit", env });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => {
    if (signal) process.exit(128 + (signal === "SIGINT" ? 2 : 15));
    process.exit(code ?? 3);
  });
}

const [first, ...rest] = process.argv.slice(2);
if (first === undefined) fail("usage: node scripts/run.mjs [--build | --tool] ENTRY [ARG …]");
ensureInstalled();
const node = pinnedNode();
if (first === "--build") {
  ensureBuilt(node);
  const [entry, ...args] = rest;
  exec(node, ["--enable-source-maps", join(root, "dist", `${entry}.js`), ...args]);
} else if (first === "--tool") {
  const [tool, ...args] = rest;
  exec(join(root, "node_modules", ".bin", tool), args);
} else {
  exec(node, [join(root, first), ...rest]);
}
