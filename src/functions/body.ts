// Reads the bodies of HTTP requests, up to a size that no honest sender exceeds.
import type { HttpRequest } from "@azure/functions";
import { LighterError } from "../core/errors.ts";

const MAX_BODY_BYTES = 1024 * 1024;

/**
 * The text of a request's body.
 * @throws LighterError BODY_TOO_LARGE
 */
export async function readText(request: HttpRequest): Promise<string> {
  const bytes = await request.arrayBuffer();
  if (bytes.byteLength <= MAX_BODY_BYTES) return Buffer.from(bytes).toString();
  throw new LighterError("BODY_TOO_LARGE", {
    operation: "read request",
    subject: new URL(request.url).pathname,
    got: `${bytes.byteLength} bytes`,
    want: `at most ${MAX_BODY_BYTES}`,
  });
}
