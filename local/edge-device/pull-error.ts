// The typed error of everything between an image reference and a runnable root filesystem.
import { LighterError } from "../../src/core/errors.ts";

/** Why an image could not be pulled, unpacked or started. */
export type PullErrorCode =
  | "REFERENCE_INVALID"
  | "UNREACHABLE"
  | "UNAUTHORIZED"
  | "NOT_FOUND"
  | "UNEXPECTED_RESPONSE"
  | "MANIFEST_INVALID"
  | "MEDIA_TYPE_UNSUPPORTED"
  | "PLATFORM_MISSING"
  | "DIGEST_MISMATCH"
  | "SIZE_MISMATCH"
  | "LAYER_INVALID"
  | "ENTRY_ESCAPES"
  | "IMAGE_ABSENT"
  | "EXECUTABLE_MISSING";

/** A device could not get hold of an image, or the image is not what it claims to be. */
export class PullError extends LighterError<PullErrorCode> {
  override readonly name = "PullError";
}
