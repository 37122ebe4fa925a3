// Joins the lines of a Dockerfile that belong together: continuations and the comments between them.
import { invalidLine, unsupportedLine } from "./dockerfile-error.ts";

/** An instruction's text, and where it starts. */
export interface LogicalLine {
  readonly keyword: string;
  readonly rest: string;
  readonly line: number;
}

/** Larger texts are refused (Docker's own scanner stops at lines of 64 KiB). */
const MAX_TEXT = 1 << 20;
const CONTINUED = /\\[ \t]*$/;
const COMMENT = /^\s*#/;
const ESCAPE_DIRECTIVE = /^\s*#\s*escape\s*=\s*(\S+)\s*$/i;

/** Splits a Dockerfile into instructions. @throws RunError DOCKERFILE_INVALID, DOCKERFILE_UNSUPPORTED */
export function readLogicalLines(text: string): LogicalLine[] {
  const whole = { keyword: "text", line: 1 };
  if (text.length > MAX_TEXT) throw invalidLine(whole, `${text.length} characters`, `at most ${MAX_TEXT}`);
  if (text.includes("\0")) throw invalidLine(whole, "a NUL");
  const found: LogicalLine[] = [];
  const lines = text.replace(/^\u{FEFF}/u, "").split("\n");
  let parts: string[] = [];
  let start = 0;
  let isHead = true;
  const finish = (): void => {
    const joined = parts.join("").trim();
    parts = [];
    if (joined === "") return;
    const [, keyword = "", rest = ""] = /^(\S+)\s*([\s\S]*)$/.exec(joined) ?? [];
    found.push({ keyword: keyword.toUpperCase(), rest, line: start + 1 });
  };
  for (const [index, raw] of lines.entries()) {
    const line = raw.replace(/\r$/, "");
    const escape = isHead ? ESCAPE_DIRECTIVE.exec(line)?.[1] : undefined;
    if (escape !== undefined && escape !== "\\") {
      throw unsupportedLine({ keyword: "escape directive", line: index + 1 }, escape);
    }
    if (COMMENT.test(line)) continue;
    isHead = false;
    if (line.trim() === "" && parts.length > 0) continue;
    if (parts.length === 0) start = index;
    const isContinued = CONTINUED.test(line);
    parts.push(isContinued ? line.replace(CONTINUED, "") : line);
    if (!isContinued) finish();
  }
  finish();
  return found;
}
