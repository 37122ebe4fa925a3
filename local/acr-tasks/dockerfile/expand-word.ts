// What Docker makes of a word: quotes taken off, backslashes applied, variables filled in.
import { invalidLine, type LineFacts } from "./dockerfile-error.ts";

/** Filled words longer than this are refused: variables of variables grow fast. */
const MAX_WORD = 1 << 20;
const NAME = /^(?:[A-Za-z_]\w*|\d)/;

/**
 * Expands a word with `$name`, `${name}`, `${name:-word}` and `${name:+word}` (Dockerfile reference, "Environment
 * replacement"). Docker does so in lists too: a quote in a JSON list's string is one.
 * @throws RunError DOCKERFILE_INVALID
 */
export function expandWord(word: string, variables: ReadonlyMap<string, string>, line: LineFacts): string {
  let at = 0;
  let length = 0;
  const fail = (got: string, want?: string): never => {
    throw invalidLine(line, got, want);
  };
  const grown = (text: string): string => {
    length += text.length;
    return length > MAX_WORD ? fail("a word that grows", `at most ${MAX_WORD} characters`) : text;
  };

  const readVariable = (depth: number): string => {
    at += 1;
    if (word[at] !== "{") {
      const name = NAME.exec(word.slice(at, at + 256))?.[0];
      if (name === undefined) return "$";
      at += name.length;
      return variables.get(name) ?? "";
    }
    at += 1;
    const name = NAME.exec(word.slice(at, at + 256))?.[0] ?? fail("${ without a name");
    at += name.length;
    const value = variables.get(name) ?? "";
    if (word[at] === "}") {
      at += 1;
      return value;
    }
    const modifier = word.slice(at, at + 2);
    if (modifier !== ":-" && modifier !== ":+") fail(`\${${name}${modifier}`, ":- or :+");
    at += 2;
    if (depth > 32) fail("variables nested too deep");
    const other = readUntil("}", depth + 1);
    if (word[at] !== "}") fail("no closing }");
    at += 1;
    return modifier === ":-" ? value || other : value && other;
  };

  const readUntil = (stop: string, depth: number): string => {
    let text = "";
    while (at < word.length && word[at] !== stop) {
      const mark = word[at] as string;
      if (mark === "'") {
        const end = word.indexOf("'", at + 1);
        if (end < 0) fail("no closing '");
        text += grown(word.slice(at + 1, end));
        at = end + 1;
      } else if (mark === '"') {
        at += 1;
        text += readDoubleQuoted(depth);
      } else if (mark === "$") text += grown(readVariable(depth));
      else if (mark === "\\") {
        text += word[at + 1] ?? "";
        at += 2;
      } else {
        text += mark;
        at += 1;
      }
    }
    return text;
  };

  const readDoubleQuoted = (depth: number): string => {
    let text = "";
    while (word[at] !== '"') {
      const mark = word[at] ?? fail('no closing "');
      if (mark === "$") text += grown(readVariable(depth));
      else if (mark === "\\") {
        const next = word[at + 1] ?? fail('no closing "');
        text += next === '"' || next === "$" || next === "\\" ? next : `\\${next}`;
        at += 2;
      } else {
        text += mark;
        at += 1;
      }
    }
    at += 1;
    return text;
  };

  return readUntil("", 0);
}
