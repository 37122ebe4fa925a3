// Splits a command line into words as a POSIX shell does, and refuses what only a shell could carry out.
import { RunError } from "./run-error.ts";

/** Characters that have a meaning of their own to a shell when nothing quotes them (POSIX XCU 2.2). */
const OPERATORS = new Set("|&;<>()$`*?[");
/** Characters that have one at the start of a word: comments and home folders. */
const LEADING = new Set(["#", "~"]);
/** Those that keep their meaning between double quotes. */
const ACTIVE_IN_QUOTES = new Set(["$", "`"]);
/** Those that a backslash takes their meaning from between double quotes; before others it stays. */
const ESCAPABLE_IN_QUOTES = new Set(["$", "`", '"', "\\", "\n"]);
const BLANK = new Set([" ", "\t", "\n", "\r"]);
const MAX_WORDS = 4_096;

/**
 * Splits `text` by quotes, backslashes and blanks (POSIX XCU 2.2 and 2.6.5).
 *
 * The agents of ACR Tasks hand a step's command to a shell. Nothing is handed to one here, so that expansions, globs,
 * pipes and lists are refused instead of carried out.
 * @throws RunError COMMAND_INVALID
 */
export function splitWords(text: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote: "'" | '"' | undefined;
  const refuse = (at: number, got: string, want: string): never => {
    throw new RunError("COMMAND_INVALID", {
      operation: "split command",
      subject: `at character ${at + 1}`,
      got,
      want,
    });
  };
  for (let at = 0; at < text.length; at++) {
    const mark = text[at] as string;
    if (mark === "\0") refuse(at, "a NUL", "text");
    if (quote === "'") {
      if (mark === "'") quote = undefined;
      else word = (word ?? "") + mark;
    } else if (mark === "\\") {
      const next = text[++at];
      if (next === undefined) return refuse(at - 1, "a backslash at the end", "a character behind it");
      if (quote === '"' && !ESCAPABLE_IN_QUOTES.has(next)) word = `${word ?? ""}\\${next}`;
      else if (next !== "\n") word = (word ?? "") + next;
    } else if (quote === '"') {
      if (mark === '"') quote = undefined;
      else if (ACTIVE_IN_QUOTES.has(mark)) refuse(at, `${mark} between double quotes`, "words without expansions");
      else word = (word ?? "") + mark;
    } else if (mark === "'" || mark === '"') {
      quote = mark;
      word ??= "";
    } else if (BLANK.has(mark)) {
      if (word !== undefined && words.push(word) > MAX_WORDS) refuse(at, "more", `at most ${MAX_WORDS} words`);
      word = undefined;
    } else if (OPERATORS.has(mark) || (word === undefined && LEADING.has(mark))) {
      refuse(at, `${mark} without quotes`, "plain words");
    } else {
      word = (word ?? "") + mark;
    }
  }
  if (quote !== undefined) refuse(text.length - 1, `no closing ${quote}`, "closed quotes");
  if (word !== undefined) words.push(word);
  return words;
}
