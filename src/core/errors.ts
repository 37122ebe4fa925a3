// The one error type that every part of Lighter throws on purpose, and the helpers to branch on it.

/** What an error says: the operation that failed, on what, what it got and what it wanted. */
export interface ErrorFacts {
  readonly operation: string;
  readonly subject: string;
  readonly got?: string;
  readonly want?: string;
  readonly retryable?: boolean;
  readonly cause?: unknown;
}

/**
 * An expected failure, e.g. `read blob sha256:12…: got 10 bytes, want 20`.
 *
 * `code` is a stable literal in UPPER_SNAKE_CASE that callers branch on; `retryable` says whether the same call may
 * succeed later. Subclasses fix `name`.
 */
export class LighterError<Code extends string = string> extends Error {
  override readonly name: string = "LighterError";
  readonly code: Code;
  readonly operation: string;
  readonly subject: string;
  readonly got: string | undefined;
  readonly want: string | undefined;
  readonly retryable: boolean;

  constructor(code: Code, facts: ErrorFacts) {
    super(describe(facts), facts.cause === undefined ? undefined : { cause: facts.cause });
    this.code = code;
    this.operation = facts.operation;
    this.subject = facts.subject;
    this.got = facts.got;
    this.want = facts.want;
    this.retryable = facts.retryable ?? false;
  }
}

function describe({ operation, subject, got, want }: ErrorFacts): string {
  const details = [got === undefined ? "" : `got ${got}`, want === undefined ? "" : `want ${want}`].filter(Boolean);
  return `${operation} ${subject}${details.length > 0 ? `: ${details.join(", ")}` : ""}`;
}

/** Whether `error` is a LighterError, optionally one with the given code. */
export function isLighterError<Code extends string>(error: unknown, code?: Code): error is LighterError<Code> {
  return error instanceof LighterError && (code === undefined || error.code === code);
}
