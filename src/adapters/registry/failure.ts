// Turns what a registry answered, or how the connection broke, into a RegistryError.
import type { ErrorFacts } from "../../core/errors.ts";
import { RegistryError, type RegistryErrorCode } from "../../core/image/registry-error.ts";

/** What is being done to what, for error messages, and what a 404 then means. */
export interface Operation {
  readonly operation: string;
  readonly subject: string;
  readonly notFound: RegistryErrorCode;
}

/** An error answer: its status and the text of its body, if any was read. */
export interface ErrorAnswer {
  readonly status: number;
  readonly text: string;
}

/** Statuses that may go away by themselves. */
export const TRANSIENT_STATUSES: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);

/** Connection errors that a retry within seconds does not cure. */
const LASTING_CODES: ReadonlySet<string> = new Set(["ENOTFOUND", "EPROTO", "ERR_INVALID_URL", "ERR_INVALID_CHAR"]);

/** Error codes of the OCI distribution spec that say more than the status does. */
const SPEC_CODES: Readonly<Record<string, RegistryErrorCode>> = {
  NAME_UNKNOWN: "NAME_UNKNOWN",
  MANIFEST_UNKNOWN: "MANIFEST_UNKNOWN",
  BLOB_UNKNOWN: "BLOB_UNKNOWN",
  DIGEST_INVALID: "DIGEST_MISMATCH",
  SIZE_INVALID: "SIZE_MISMATCH",
  UNSUPPORTED: "UNSUPPORTED",
  TOOMANYREQUESTS: "TOO_MANY_REQUESTS",
};

/** Builds a RegistryError for an operation. */
export function fail(
  code: RegistryErrorCode,
  { operation, subject }: Operation,
  facts: Omit<ErrorFacts, "operation" | "subject"> = {},
): RegistryError {
  return new RegistryError(code, { operation, subject, ...facts });
}

/** The error for an answer that was not among the wanted ones; its body may be JSON of the spec, or anything. */
export function failByAnswer(operation: Operation, { status, text }: ErrorAnswer): RegistryError {
  const [first] = readSpecErrors(text);
  const details = first === undefined ? squeeze(text) : squeeze(`${first.code} ${first.message}`);
  return fail(codeOf(operation, status, first?.code), operation, {
    got: `status ${status}${details === "" ? "" : ` (${details})`}`,
    retryable: TRANSIENT_STATUSES.has(status),
  });
}

/** The error for a connection that could not be made or broke. */
export function failByConnection(operation: Operation, cause: unknown): RegistryError {
  if (cause instanceof RegistryError) return cause;
  const { code, message } =
    cause instanceof Error ? (cause as NodeJS.ErrnoException) : { code: undefined, message: "" };
  const lasting = code !== undefined && (LASTING_CODES.has(code) || /CERT|TLS|SSL|VERIFY/.test(code));
  return fail("UNREACHABLE", operation, { got: message || code || "no connection", retryable: !lasting, cause });
}

function codeOf({ notFound }: Operation, status: number, specCode = ""): RegistryErrorCode {
  if (status === 401) return "UNAUTHORIZED";
  if (status === 403) return "DENIED";
  if (status === 429) return "TOO_MANY_REQUESTS";
  if (status >= 500 && status !== 501) return "UNREACHABLE";
  const named = SPEC_CODES[specCode];
  if (named !== undefined) return named;
  if (status === 404) return notFound;
  if (status === 405 || status === 501) return "UNSUPPORTED";
  return "UNEXPECTED_RESPONSE";
}

function readSpecErrors(text: string): { code: string; message: string }[] {
  try {
    const { errors } = JSON.parse(text) as { errors?: unknown };
    if (!Array.isArray(errors)) return [];
    return errors.map((error: { code?: unknown; message?: unknown } | null) => ({
      code: typeof error?.code === "string" ? error.code : "",
      message: typeof error?.message === "string" ? error.message : "",
    }));
  } catch {
    return [];
  }
}

function squeeze(text: string): string {
  const line = text.replaceAll(/[\s\p{Cc}]+/gu, " ").trim();
  return line.length > 160 ? `${line.slice(0, 160)}…` : line;
}
