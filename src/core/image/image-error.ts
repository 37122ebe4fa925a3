// The typed error of everything that can be wrong with an image itself.
import { LighterError } from "../errors.ts";

/** What is wrong with an image, its reference, or a pair of images. */
export type ImageErrorCode =
  | "REFERENCE_INVALID"
  | "MANIFEST_INVALID"
  | "MEDIA_TYPE_UNSUPPORTED"
  | "CONFIG_INVALID"
  | "PLATFORM_INVALID"
  | "PLATFORM_NOT_FOUND"
  | "PLATFORM_MISMATCH"
  | "LAYER_CORRUPT"
  | "LAYER_TOO_LARGE"
  | "LAYER_LIMIT_REACHED"
  | "TAR_INVALID"
  | "TAR_TRUNCATED"
  | "TAR_UNSUPPORTED"
  | "TAR_PATH_ESCAPES"
  | "LINK_DANGLING"
  | "INDEX_UNREADABLE";

/** An image is malformed, unsupported, or does not fit the other one. */
export class ImageError extends LighterError<ImageErrorCode> {
  override readonly name = "ImageError";
}
