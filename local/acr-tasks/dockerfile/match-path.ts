// Matches path names with the patterns that COPY takes: Go's filepath.Match, one name at a time.

/** Whether a name or pattern has characters that mean more than themselves. */
export function isPattern(text: string): boolean {
  return /[*?[\\]/.test(text);
}

/**
 * A regular expression for one name's pattern: `*`, `?`, `[a-z]`, `[^a]` and backslashes; undefined when the pattern is
 * malformed.
 */
export function compilePattern(pattern: string): RegExp | undefined {
  let source = "";
  const literal = (text: string): string => text.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
  for (let at = 0; at < pattern.length; at++) {
    const mark = pattern[at] as string;
    if (mark === "*") source += source.endsWith("[^/]*") ? "" : "[^/]*";
    else if (mark === "?") source += "[^/]";
    else if (mark === "\\") {
      const next = pattern[++at];
      if (next === undefined) return undefined;
      source += literal(next);
    } else if (mark === "[") {
      const end = readClass(pattern, at + 1, literal);
      if (end === undefined) return undefined;
      source += end.source;
      at = end.at;
    } else source += literal(mark);
  }
  return new RegExp(`^${source}$`, "s");
}

function readClass(
  pattern: string,
  start: number,
  literal: (text: string) => string,
): { readonly source: string; readonly at: number } | undefined {
  let at = start;
  const isNegated = pattern[at] === "^";
  if (isNegated) at++;
  let ranges = "";
  const readOne = (): string | undefined => {
    const mark = pattern[at];
    if (mark === undefined || mark === "-" || mark === "]") return undefined;
    at += mark === "\\" ? 2 : 1;
    return mark === "\\" ? pattern[at - 1] : mark;
  };
  while (pattern[at] !== "]" || ranges === "") {
    const from = readOne();
    if (from === undefined) return undefined;
    let to = from;
    if (pattern[at] === "-") {
      at++;
      const end = readOne();
      if (end === undefined) return undefined;
      to = end;
    }
    // A range that runs backwards matches nothing.
    if (from <= to) ranges += `${literal(from)}-${literal(to)}`;
    else ranges += ranges === "" ? "\\0" : "";
  }
  return { source: `[${isNegated ? "^" : ""}${ranges}]`, at };
}
