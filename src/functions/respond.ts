// Turns results and errors into HTTP responses; errors become problem details (RFC 9457).
import type { HttpRequest, HttpResponseInit, InvocationContext } from "@azure/functions";
import { isLighterError } from "../core/errors.ts";

const STATUS_BY_CODE: Readonly<Record<string, number>> = {
  HOOK_MALFORMED: 400,
  REQUEST_MALFORMED: 400,
  REFERENCE_INVALID: 400,
  CONTINUATION_INVALID: 400,
  RELEASE_UNKNOWN: 404,
  PRODUCT_UNKNOWN: 404,
  BASELINE_NOT_FOUND: 404,
  RELEASE_OVER: 409,
  BODY_TOO_LARGE: 413,
  ROLLOUT_ACTIVE: 409,
};

/** A problem details response. */
function toProblem(status: number, code: string, detail: string): HttpResponseInit {
  return {
    status,
    headers: { "content-type": "application/problem+json" },
    body: JSON.stringify({ type: "about:blank", title: code, status, detail }),
  };
}

/** A handler whose result is sent as JSON, and whose errors become problem details. */
export function respond(
  handle: (request: HttpRequest, context: InvocationContext) => Promise<{ status: number; body: unknown }>,
): (request: HttpRequest, context: InvocationContext) => Promise<HttpResponseInit> {
  return async (request, context) => {
    try {
      const { status, body } = await handle(request, context);
      return { status, jsonBody: body };
    } catch (error) {
      if (!isLighterError(error)) {
        context.error(error);
        return toProblem(500, "INTERNAL", `invocation ${context.invocationId} failed; see the log`);
      }
      const status = STATUS_BY_CODE[error.code] ?? (error.retryable ? 503 : 500);
      if (status >= 500) context.error(error);
      return toProblem(status, error.code, error.message);
    }
  };
}
