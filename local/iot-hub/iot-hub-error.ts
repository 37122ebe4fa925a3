// The refusals of the hub: what the service answers when it will not do what was asked.
import { LighterError } from "../../src/core/errors.ts";

/** A refused operation: an HTTP status, the service's error code, e.g. `DeviceNotFound`, and a sentence without `;`. */
export class IotHubError extends LighterError<"IOT_HUB_REFUSED"> {
  override readonly name = "IotHubError";
  readonly status: number;
  readonly errorCode: string;
  readonly text: string;

  constructor(status: number, errorCode: string, text: string) {
    super("IOT_HUB_REFUSED", { operation: "serve", subject: errorCode, got: text, retryable: status >= 429 });
    this.status = status;
    this.errorCode = errorCode;
    // The SDK cuts the body's message at every semicolon.
    this.text = text.replaceAll(";", ",");
  }
}

/** The body the service sends: the SDK takes the code from before the semicolon and the text from behind it. */
export function renderErrorBody(error: IotHubError, trackingId: string): { Message: string; ExceptionMessage: string } {
  return { Message: `ErrorCode:${error.errorCode};${error.text}`, ExceptionMessage: `Tracking ID:${trackingId}` };
}

/** An argument that the service does not take. */
export const badRequest = (text: string): IotHubError => new IotHubError(400, "ArgumentInvalid", text);

/** A device that is not there. */
export const deviceNotFound = (deviceId: string): IotHubError =>
  new IotHubError(404, "DeviceNotFound", `Device ${deviceId} is not registered`);

/** An etag that is missing or stale. */
export const preconditionFailed = (text: string): IotHubError => new IotHubError(412, "PreconditionFailed", text);
