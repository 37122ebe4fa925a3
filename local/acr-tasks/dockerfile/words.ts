// The words of an instruction: flags, JSON lists, blank-separated lists and name=value pairs.
import { invalidLine, type LineFacts, unsupportedLine } from "./dockerfile-error.ts";

/** A name and its value, as written. */
export type Pair = readonly [name: string, value: string];

/** Flags before the words of an instruction, e.g. `--from=model`. */
export function takeFlags(
  text: string,
  line: LineFacts,
): { readonly flags: ReadonlyMap<string, string>; readonly rest: string } {
  const flags = new Map<string, string>();
  let rest = text;
  for (let match = /^--(\S*)\s*/.exec(rest); match !== null; match = /^--(\S*)\s*/.exec(rest)) {
    const [whole, flag = ""] = match;
    rest = rest.slice(whole.length);
    if (flag === "") break;
    const equals = flag.indexOf("=");
    const name = equals < 0 ? flag : flag.slice(0, equals);
    if (flags.has(name)) throw invalidLine(line, `--${name} twice`);
    flags.set(name, equals < 0 ? "" : flag.slice(equals + 1));
  }
  return { flags, rest };
}

/** A JSON list of strings, or undefined when the text is none. */
export function readJsonList(text: string, line: LineFacts): string[] | undefined {
  if (!text.startsWith("[")) return undefined;
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    // As Docker has it: a list with a fault is words.
    return undefined;
  }
  if (!Array.isArray(list)) return undefined;
  if (!list.every((item) => typeof item === "string")) throw invalidLine(line, "a JSON list of other than strings");
  return list;
}

/** A JSON list, or else words that blanks separate; quotes have no meaning here yet. */
export function readList(text: string, line: LineFacts): string[] {
  const words = readJsonList(text, line) ?? text.split(/[ \t\v\f\r]+/).filter((word) => word !== "");
  const hereDocument = words.find((word) => word.startsWith("<<"));
  if (hereDocument !== undefined) throw unsupportedLine(line, "a here-document");
  return words;
}

/** Pairs of LABEL and ENV: `a=1 b="2 3"`, or the old form `a the rest`. Quotes and backslashes stay. */
export function readPairs(text: string, line: LineFacts): Pair[] {
  const words = splitQuoted(text, line);
  const [first] = words;
  if (first === undefined) throw invalidLine(line, "nothing", "name=value");
  if (!first.includes("=")) {
    const value = text.slice(first.length).trim();
    if (value === "") throw invalidLine(line, first.slice(0, 80), "name=value");
    return [[first, value]];
  }
  return words.map((word): Pair => {
    const equals = word.indexOf("=");
    if (equals < 1) throw invalidLine(line, word.slice(0, 80), "name=value");
    return [word.slice(0, equals), word.slice(equals + 1)];
  });
}

/** Splits at blanks outside quotes; a backslash keeps the next character from splitting or closing. */
function splitQuoted(text: string, line: LineFacts): string[] {
  const words: string[] = [];
  let word = "";
  let quote = "";
  for (let at = 0; at < text.length; at++) {
    const mark = text[at] as string;
    if (mark === "\\" && quote !== "'") word += mark + (text[++at] ?? "");
    else if (quote !== "") {
      word += mark;
      if (mark === quote) quote = "";
    } else if (mark === "'" || mark === '"') {
      word += mark;
      quote = mark;
    } else if (/\s/.test(mark)) {
      if (word !== "") words.push(word);
      word = "";
    } else word += mark;
  }
  if (quote !== "") throw invalidLine(line, `no closing ${quote}`);
  if (word !== "") words.push(word);
  return words;
}
