// The YAML of the task that runs Lighter, and the words of its one command, none of which can become anything else.
import { stringify } from "yaml";
import { AcrTasksError } from "./acr-tasks-error.ts";
import type { TaskValue } from "./run-request.ts";

/** Characters that mean nothing to a shell, to YAML or to the templates of tasks. */
const PLAIN = /^[\w./:@%+,=-]+$/;
/** NUL ends a word for the kernel, line ends a line of a log; `$` and double braces are the templates'. */
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const REFUSED = /[\u0000-\u001F\u007F\u0085\u2028\u2029$]|\{\{|\}\}|\p{Cs}/u;

/**
 * Quotes a word for the POSIX shell that agents hand a step's command to (XCU 2.2.2).
 *
 * Templates are filled before any of this is read, so what they could take for theirs is refused instead of quoted.
 * @throws AcrTasksError WORD_REFUSED
 */
export function quoteWord(word: string): string {
  if (PLAIN.test(word)) return word;
  if (REFUSED.test(word)) throw refused(word, "text without control characters, $ and double braces");
  // Braces that touch across a quoted quote would meet in the text: `{'{` is none, `{\'{` neither.
  return `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** One command line of words. @throws AcrTasksError WORD_REFUSED */
export function quoteWords(words: readonly string[]): string {
  return words.map(quoteWord).join(" ");
}

/**
 * A value of a pre-created task's template. Templates are text: a value stands there without quotes, so nothing is let
 * in that would need them.
 * @throws AcrTasksError WORD_REFUSED
 */
export function taskValue(name: string, value: string): TaskValue {
  if (!PLAIN.test(value)) throw refused(value, "letters, digits and . / : @ % + , = _ -");
  return { name, value, isSecret: false };
}

/** A task of one command, as base64. @throws AcrTasksError WORD_REFUSED */
export function encodeTask(words: readonly string[], timeoutSeconds: number): string {
  return encode(quoteWords(words), timeoutSeconds);
}

/** The template values of a pre-created task, in the order in which its command has them. */
export const TASK_VALUES = ["image", "anchor", "candidate", "target", "platform"] as const;

/** The pre-created task, which takes its words as values, as base64. */
export function encodeTemplate(timeoutSeconds: number): string {
  const value = (name: (typeof TASK_VALUES)[number]): string => `{{.Values.${name}}}`;
  const words = rebaseWords({
    image: value("image"),
    anchor: value("anchor"),
    candidate: value("candidate"),
    target: value("target"),
    platform: value("platform"),
  });
  return encode(words.join(" "), timeoutSeconds);
}

/** The words that run `lighter rebase` in its image. */
export function rebaseWords(words: Readonly<Record<(typeof TASK_VALUES)[number], string>>): string[] {
  const { image, anchor, candidate, target, platform } = words;
  return [image, "rebase", anchor, candidate, "--tag", target, "--platform", platform, "--json"];
}

/** A step is ended after ten minutes unless it says otherwise, so it says how long the run may take. */
function encode(cmd: string, timeoutSeconds: number): string {
  const task = { version: "v1.0.0", steps: [{ id: "rebase", cmd, timeout: timeoutSeconds }] };
  return Buffer.from(stringify(task, { lineWidth: 0 })).toString("base64");
}

function refused(word: string, want: string): AcrTasksError {
  return new AcrTasksError("WORD_REFUSED", {
    operation: "write command with",
    subject: JSON.stringify(word.slice(0, 100)),
    want,
  });
}
