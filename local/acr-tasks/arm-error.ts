// The refusals of the ARM API: an HTTP status, a code and a sentence, in the body that ARM sends.
import { LighterError } from "../../src/core/errors.ts";

/** More about a refusal; `target` is the part of the request that is wrong. */
export interface ArmErrorDetails {
  readonly target?: string;
  readonly retryAfterSeconds?: number;
}

/** A refused ARM call, e.g. 404 `RunNotFound`. */
export class ArmError extends LighterError<"ARM_REFUSED"> {
  override readonly name = "ArmError";
  readonly status: number;
  readonly armCode: string;
  readonly text: string;
  readonly details: ArmErrorDetails;

  constructor(status: number, armCode: string, text: string, details: ArmErrorDetails = {}) {
    super("ARM_REFUSED", { operation: "serve", subject: armCode, got: text, retryable: status >= 429 });
    this.status = status;
    this.armCode = armCode;
    this.text = text;
    this.details = details;
  }
}

/** The body of a refusal (Azure Resource Manager, "Common error response"). */
export function renderArmError({ armCode, text, details }: ArmError): unknown {
  const target = details.target === undefined ? {} : { target: details.target };
  return { error: { code: armCode, message: text, ...target } };
}

/** A part of the request that the service does not take. */
export const invalidParameter = (target: string, text: string): ArmError =>
  new ArmError(400, "InvalidParameter", text, { target });
