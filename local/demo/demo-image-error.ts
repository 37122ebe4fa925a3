// The typed error of building and pushing the demo's images.
import { LighterError } from "../../src/core/errors.ts";

/** The demo's images could not be made (too few installed files to fill a layer) or a registry refused them. */
export class DemoImageError extends LighterError<"TOO_FEW_FILES" | "PUSH_REFUSED"> {
  override readonly name = "DemoImageError";
}
