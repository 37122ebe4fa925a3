// The typed error of every registry conversation, whichever adapter holds it.
import { LighterError } from "../errors.ts";

/** Why a registry call failed; the UPPER_SNAKE codes of the OCI distribution spec plus what a client itself detects. */
export type RegistryErrorCode =
  | "NAME_UNKNOWN"
  | "MANIFEST_UNKNOWN"
  | "BLOB_UNKNOWN"
  | "UNAUTHORIZED"
  | "DENIED"
  | "TOO_MANY_REQUESTS"
  | "UNREACHABLE"
  | "DIGEST_MISMATCH"
  | "SIZE_MISMATCH"
  | "MANIFEST_TOO_LARGE"
  | "UNSUPPORTED"
  | "UNEXPECTED_RESPONSE";

/** A registry refused, failed or sent something that is not what its digest or size says. */
export class RegistryError extends LighterError<RegistryErrorCode> {
  override readonly name = "RegistryError";
}
