// Turns what the IoT Hub SDK throws into one typed error that knows whether trying again helps.
import { LighterError } from "../../core/errors.ts";

/** Why a call to an IoT hub failed. */
export type IotHubErrorCode =
  | "INVALID_CONNECTION"
  | "BAD_REQUEST"
  | "UNAUTHORIZED"
  | "NOT_FOUND"
  | "CONFLICT"
  | "PRECONDITION_FAILED"
  | "THROTTLED"
  | "UNAVAILABLE"
  | "UNREACHABLE";

/** An IoT hub refused, throttled or did not answer. */
export class IotHubError extends LighterError<IotHubErrorCode> {
  override readonly name = "IotHubError";
}

const CODE_BY_STATUS: Readonly<Record<number, IotHubErrorCode>> = {
  400: "BAD_REQUEST",
  401: "UNAUTHORIZED",
  403: "UNAUTHORIZED",
  404: "NOT_FOUND",
  409: "CONFLICT",
  412: "PRECONDITION_FAILED",
  429: "THROTTLED",
};

/** The typed form of anything the SDK throws; errors that are typed already pass through. */
export function toIotHubError(operation: string, subject: string, cause: unknown): IotHubError {
  if (cause instanceof IotHubError) return cause;
  const status = (cause as { response?: { statusCode?: number } }).response?.statusCode;
  const message = cause instanceof Error ? cause.message : String(cause);
  if (status === undefined) {
    return new IotHubError("UNREACHABLE", { operation, subject, got: message, retryable: true, cause });
  }
  const code = CODE_BY_STATUS[status] ?? (status >= 500 ? "UNAVAILABLE" : "BAD_REQUEST");
  const retryable = code === "THROTTLED" || code === "UNAVAILABLE";
  return new IotHubError(code, { operation, subject, got: `${status} ${message}`, retryable, cause });
}
