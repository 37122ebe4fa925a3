// Exit codes, and how an error is told to people and programs.
import { ImageError } from "../core/image/image-error.ts";
import { LighterError } from "../core/errors.ts";
import { ApiError } from "./api.ts";
import { createPaint } from "./paint.ts";

/** 0 done; 1 the answer is no; 2 usage or bad input; 3 the outside world failed. */
export const EXIT = { done: 0, no: 1, usage: 2, failed: 3 } as const;

/** Codes of registry errors that mean: the reference names nothing. */
const NOT_THERE: ReadonlySet<string> = new Set(["NAME_UNKNOWN", "MANIFEST_UNKNOWN"]);

/** Codes that mean: the command was not told enough. */
const NOT_TOLD: ReadonlySet<string> = new Set(["API_MISSING", "SETTING_INVALID", "TARIFF_INVALID"]);

const isClientError = (status: number): boolean => status >= 400 && status < 500 && status !== 401 && status !== 429;

/** The exit code of an error: 2 when what was asked for is wrong, 3 when the world does not play along. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof ImageError) return EXIT.usage;
  if (error instanceof ApiError) return isClientError(error.status) ? EXIT.usage : EXIT.failed;
  if (!(error instanceof LighterError)) return EXIT.failed;
  return NOT_THERE.has(error.code) || NOT_TOLD.has(error.code) ? EXIT.usage : EXIT.failed;
}

/** Writes an error to stderr, and with `json` as `{"error":{"name","code","message"}}` to stdout. */
export function reportError(error: unknown, json: boolean): void {
  const { name, message } = error instanceof Error ? error : { name: "Error", message: String(error) };
  const code = error instanceof LighterError ? error.code : "INTERNAL";
  const paint = createPaint(process.stderr);
  const known = error instanceof LighterError;
  const detail = known || !(error instanceof Error) ? message : (error.stack ?? message);
  process.stderr.write(`${paint.red("lighter:")} ${detail}\n`);
  if (json) process.stdout.write(`${JSON.stringify({ error: { name, code, message } })}\n`);
}
