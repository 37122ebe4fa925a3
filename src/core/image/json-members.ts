// Replaces members of a JSON object in its text, leaving every other byte as it was.

/** Where a member's value stands in the text. */
interface Span {
  readonly start: number;
  readonly end: number;
}

/**
 * Sets top-level members of the JSON object in `text` (which must be valid JSON); values are JSON texts. Members that
 * are missing are appended.
 */
export function replaceMembers(text: string, members: Readonly<Record<string, string>>): string {
  const spans = findMembers(text);
  const edits = Object.entries(members).flatMap(([name, value]) => {
    const span = spans.get(name);
    return span === undefined ? [] : [{ ...span, value }];
  });
  let result = text;
  for (const { start, end, value } of edits.sort((left, right) => right.start - left.start))
    result = result.slice(0, start) + value + result.slice(end);
  const missing = Object.entries(members).filter(([name]) => !spans.has(name));
  if (missing.length === 0) return result;
  const close = result.lastIndexOf("}");
  const separator = spans.size === 0 ? "" : ",";
  const added = missing.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",");
  return `${result.slice(0, close).trimEnd()}${separator}${added}${result.slice(close)}`;
}

function findMembers(text: string): ReadonlyMap<string, Span> {
  const spans = new Map<string, Span>();
  let at = skipSpace(text, text.indexOf("{") + 1);
  while (text[at] === '"') {
    const keyEnd = skipValue(text, at);
    const name = JSON.parse(text.slice(at, keyEnd)) as string;
    const start = skipSpace(text, skipSpace(text, keyEnd) + 1);
    const end = skipValue(text, start);
    spans.set(name, { start, end });
    at = skipSpace(text, end);
    if (text[at] === ",") at = skipSpace(text, at + 1);
  }
  return spans;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (" \t\r\n".includes(text[at] ?? "x")) at++;
  return at;
}

/** The end of the value that starts at `from`. */
function skipValue(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    const character = text[at] as string;
    if (character === '"') {
      at = endOfString(text, at);
      if (depth === 0) return at + 1;
    } else if (character === "{" || character === "[") depth++;
    else if (character === "}" || character === "]") {
      if (depth === 0) return at;
      depth--;
      if (depth === 0) return at + 1;
    } else if (depth === 0 && (character === "," || " \t\r\n".includes(character))) return at;
  }
  return text.length;
}

/** The position of the quote that closes the string opened at `from`. */
function endOfString(text: string, from: number): number {
  let at = from + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at;
}
