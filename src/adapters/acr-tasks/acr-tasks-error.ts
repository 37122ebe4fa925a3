// The typed error of every conversation with ACR Tasks.
import { LighterError, type ErrorFacts } from "../../core/errors.ts";

/** Why something about ACR Tasks failed. */
export type AcrTasksErrorCode =
  | "SETTING_INVALID"
  | "ENDPOINT_INSECURE"
  | "UNAUTHORIZED"
  | "DENIED"
  | "TASKS_NOT_ALLOWED"
  | "NOT_FOUND"
  | "REQUEST_REFUSED"
  | "CONFLICT"
  | "THROTTLED"
  | "UNREACHABLE"
  | "UNEXPECTED_RESPONSE"
  | "LOG_MISSING"
  | "WORD_REFUSED"
  | "OUTPUT_INVALID";

/** ACR Tasks refused, failed or gave something that is not what it should be; `armCode` is the service's own code. */
export class AcrTasksError extends LighterError<AcrTasksErrorCode> {
  override readonly name = "AcrTasksError";
  readonly armCode: string | undefined;

  constructor(code: AcrTasksErrorCode, facts: ErrorFacts & { readonly armCode?: string }) {
    super(code, facts);
    this.armCode = facts.armCode;
  }
}
