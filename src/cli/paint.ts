// Colour for terminals only.
import picocolors from "picocolors";

/** The colour functions; without colour they return their text. */
export type Paint = ReturnType<typeof picocolors.createColors>;

/** Colours for a stream: only on a terminal that is not dumb, and never when NO_COLOR is set (no-color.org). */
export function createPaint(stream: { readonly isTTY?: boolean }): Paint {
  const { NO_COLOR: refused, TERM: terminal } = process.env;
  return picocolors.createColors(stream.isTTY === true && !refused && terminal !== "dumb");
}
