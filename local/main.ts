// The embedded stack as a process: `up` keeps it running, `demo` plays the demo on it; reports JSON lines on stdout.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runDemo } from "./demo/run-demo.ts";
import { startUp } from "./up.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    folder: { type: "string" },
    seed: { type: "string", default: "1" },
    "time-scale": { type: "string" },
    "functions-port": { type: "string" },
    "registry-port": { type: "string" },
    "hub-port": { type: "string" },
    devices: { type: "string" },
    stay: { type: "boolean", default: false },
  },
});

const report = (event: unknown): void => void process.stdout.write(`${JSON.stringify(event)}\n`);
const port = (text: string | undefined): number => Number(text ?? 0);

/** Resolves when somebody asks this process to end, by signal or by closing its input. */
function asked(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => resolve());
    process.stdin.resume();
    process.stdin.once("end", () => resolve());
    process.stdin.once("error", () => resolve());
  });
}

const given = values.folder;
const folder = given ?? mkdtempSync(join(tmpdir(), "lighter-"));
const ended = asked();
const interruption = new AbortController();
void ended.then(() => interruption.abort(new Error("interrupted")));
try {
  if (positionals[0] === "demo") {
    const demo = await runDemo({
      folder,
      seed: Number(values.seed),
      timeScale: Number(values["time-scale"] ?? 300),
      report,
      signal: interruption.signal,
    });
    if (values.stay) await ended;
    await demo.close();
  } else {
    const up = await startUp({
      folder,
      timeScale: Number(values["time-scale"] ?? 1),
      devices: Number(values.devices ?? 3),
      ports: {
        functions: port(values["functions-port"]),
        registry: port(values["registry-port"]),
        hub: port(values["hub-port"]),
      },
    });
    report({ type: "up", ...up.facts });
    await ended;
    await up.close();
  }
} catch (error) {
  report({ type: "failed", message: error instanceof Error ? error.message : String(error) });
  process.exitCode = 3;
} finally {
  if (given === undefined) rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}
process.exit();
