// The typed error of everything that makes a run end other than well.
import { LighterError } from "../../src/core/errors.ts";

/** Why a run failed. */
export type RunErrorCode =
  | "TASK_INVALID"
  | "TEMPLATE_INVALID"
  | "COMMAND_INVALID"
  | "LOGIN_DENIED"
  | "SOURCE_UNAVAILABLE"
  | "SOURCE_INVALID"
  | "IMAGE_UNAVAILABLE"
  | "STEP_FAILED"
  | "STEP_TIMED_OUT"
  | "DOCKERFILE_INVALID"
  | "DOCKERFILE_UNSUPPORTED"
  | "BUILD_FAILED"
  | "PUSH_FAILED";

/** A run cannot go on; the message is what its log says last. */
export class RunError extends LighterError<RunErrorCode> {
  override readonly name = "RunError";
}
