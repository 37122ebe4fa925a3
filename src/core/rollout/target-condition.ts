// Target conditions of IoT Hub configurations, written with `=`, AND and OR alone, since the service rejects IN.
import { LighterError } from "../errors.ts";
import type { Slot } from "./slots.ts";

/** The longest condition that the service accepts, in characters. */
const MAX_CONDITION_LENGTH = 8_192;

/**
 * The condition for the devices in `slots` that also meet the product's own condition (`*` or absent = all).
 *
 * A device without a slot is never targeted.
 * @throws LighterError CONDITION_TOO_LONG
 */
export function composeTargetCondition(slots: readonly Slot[], condition?: string): string {
  const inSlots = slots.map((slot) => `tags.lighter.slot='${slot}'`).join(" OR ");
  const composed = condition === undefined || condition === "*" ? inSlots : `(${condition}) AND (${inSlots})`;
  if (composed.length > MAX_CONDITION_LENGTH) {
    throw new LighterError("CONDITION_TOO_LONG", {
      operation: "compose target condition",
      subject: condition ?? "*",
      got: `${composed.length} characters`,
      want: `at most ${MAX_CONDITION_LENGTH}`,
    });
  }
  return composed;
}
