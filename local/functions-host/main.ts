// The functions host as a process of its own: options as JSON, its URL as a JSON line, ended by SIGTERM or with its parent.
import { readFileSync } from "node:fs";
import { pino } from "pino";
import { z } from "zod";
import { createScaledClock } from "../clock.ts";
import type { ClockSettings } from "../clock.ts";
import { FunctionsHostError, messageOf } from "./errors.ts";
import { createFunctionsHost } from "./host.ts";
import type { FunctionsHostOptions } from "./host.ts";
import { createPinoSink } from "./log.ts";

/** The options of the process: those of `createFunctionsHost` that are plain data, the clock's settings, a log level. */
export type ProcessOptions = Omit<FunctionsHostOptions, "clock" | "log" | "triggers" | "outputs"> & {
  /** Real time unless given. */
  readonly clock?: ClockSettings;
  readonly logLevel?: "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "silent";
};

const keySet = z.record(z.string(), z.string());
const schema = z.strictObject({
  app: z.strictObject({ folder: z.string(), entries: z.array(z.string()).exactOptional() }),
  hostJson: z.unknown().exactOptional(),
  settings: z.record(z.string(), z.string()).exactOptional(),
  storageFile: z.string(),
  durability: z.enum(["process", "machine"]).exactOptional(),
  clock: z.strictObject({ originMs: z.number(), scale: z.number().positive() }).exactOptional(),
  port: z.number().int().min(0).max(65_535).exactOptional(),
  keys: z
    .strictObject({
      master: z.string().exactOptional(),
      host: keySet.exactOptional(),
      system: keySet.exactOptional(),
      functions: z.record(z.string(), keySet).exactOptional(),
    })
    .exactOptional(),
  httpTimeoutMs: z.number().positive().exactOptional(),
  closeGraceMs: z.number().nonnegative().exactOptional(),
  logLevel: z.enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"]).exactOptional(),
}) satisfies z.ZodType<ProcessOptions>;

/** Reads `--options <file>`, `-` for standard input, or else the variable LIGHTER_FUNCTIONS_HOST. */
function readOptions(): ProcessOptions {
  const [flag, file] = process.argv.slice(2);
  const text =
    flag === "--options" && file !== undefined
      ? readFileSync(file === "-" ? 0 : file, "utf8")
      : process.env["LIGHTER_FUNCTIONS_HOST"];
  const parsed = schema.safeParse(text === undefined ? undefined : JSON.parse(text));
  if (parsed.success) return parsed.data;
  throw new FunctionsHostError("BAD_OPTIONS", {
    operation: "read",
    subject: "options",
    got: z.prettifyError(parsed.error),
  });
}

async function main(): Promise<void> {
  const { clock = { originMs: Date.now(), scale: 1 }, logLevel = "info", ...options } = readOptions();
  const log = createPinoSink(pino({ level: logLevel }, pino.destination({ dest: 2, sync: true })));
  const host = await createFunctionsHost({ ...options, clock: createScaledClock(clock), log });
  let stopping = false;
  const stop = (): void => {
    if (stopping) return;
    stopping = true;
    void host.close().then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`${messageOf(error)}\n`);
        process.exit(1);
      },
    );
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  // Whoever started it with a channel is gone, by whatever end, when the channel closes.
  if (process.connected) process.once("disconnect", stop);
  process.stdout.write(
    `${JSON.stringify({ url: host.url, pid: process.pid, keys: host.keys, functions: host.functions })}\n`,
  );
}

try {
  await main();
} catch (error) {
  const code = error instanceof FunctionsHostError ? error.code : "ERROR";
  process.stderr.write(`${JSON.stringify({ error: code, message: messageOf(error) })}\n`);
  process.exit(2);
}
