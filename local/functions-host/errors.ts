// The typed errors of the functions host: what an app or its settings ask for that cannot be served.
import { LighterError } from "../../src/core/errors.ts";

/** What went wrong; callers branch on it. */
export type FunctionsHostErrorCode =
  | "ALREADY_IN_PROCESS"
  | "APP_LOAD_FAILED"
  | "BAD_HOST_JSON"
  | "BAD_OPTIONS"
  | "BAD_ROUTE"
  | "BAD_SCHEDULE"
  | "MISSING_SETTING"
  | "STORAGE_IN_USE"
  | "STORAGE_UNUSABLE"
  | "UNSUPPORTED_BINDING"
  | "UNSUPPORTED_DURABLE_FEATURE"
  | "UNSUPPORTED_LIBRARY";

/** A failure of the functions host itself, as opposed to one thrown by the app's code. */
export class FunctionsHostError extends LighterError<FunctionsHostErrorCode> {
  override readonly name = "FunctionsHostError";
}

/** The message of anything thrown, for logs and for Durable's history. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
