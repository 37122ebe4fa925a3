// Matches path names with the patterns that COPY takes: Go's filepath.Match, one name at a time.

/** What a pattern demands of one character, or `*` for any number of any. */
type Token = "*" | ((mark: string) => boolean);

/** Whether a pattern's text has characters that mean more than themselves. */
export function isPattern(text: string): boolean {
  return /[*?[\\]/.test(text);
}

/**
 * A matcher for one name's pattern: `*`, `?`, `[a-z]`, `[^a]` and backslashes; undefined when the pattern is malformed.
 *
 * It takes time in proportion to pattern times name at most, whatever the pattern.
 */
export function compilePattern(pattern: string): ((name: string) => boolean) | undefined {
  const tokens = readTokens(Array.from(pattern));
  return tokens && ((name) => matches(tokens, Array.from(name)));
}

function readTokens(marks: readonly string[]): Token[] | undefined {
  const tokens: Token[] = [];
  for (let at = 0; at < marks.length; at++) {
    const mark = marks[at] as string;
    if (mark === "*") {
      if (tokens.at(-1) !== "*") tokens.push("*");
    } else if (mark === "?") tokens.push(() => true);
    else if (mark === "[") {
      const found = readClass(marks, at + 1);
      if (found === undefined) return undefined;
      tokens.push(found.token);
      at = found.end;
    } else {
      const literal = mark === "\\" ? marks[++at] : mark;
      if (literal === undefined) return undefined;
      tokens.push((other) => other === literal);
    }
  }
  return tokens;
}

/** Reads from behind `[` to `]`, whose index is `end`. */
function readClass(
  marks: readonly string[],
  start: number,
): { readonly token: Token; readonly end: number } | undefined {
  const ranges: (readonly [from: string, to: string])[] = [];
  let at = start;
  const isNegated = marks[at] === "^";
  if (isNegated) at++;
  const readOne = (): string | undefined => {
    const mark = marks[at++];
    return mark === "\\" ? marks[at++] : mark === "-" || mark === "]" ? undefined : mark;
  };
  while (marks[at] !== "]" || ranges.length === 0) {
    const from = readOne();
    if (from === undefined) return undefined;
    let to: string | undefined = from;
    if (marks[at] === "-") {
      at++;
      to = readOne();
    }
    if (to === undefined) return undefined;
    ranges.push([from, to]);
  }
  const isInside = (mark: string): boolean => ranges.some(([from, to]) => from <= mark && mark <= to);
  return { token: (mark) => isInside(mark) !== isNegated, end: at };
}

/** Goes back to the last star only: what earlier ones took can stay as it is. */
function matches(tokens: readonly Token[], marks: readonly string[]): boolean {
  let [token, mark] = [0, 0];
  let [starToken, starMark] = [-1, 0];
  while (mark < marks.length) {
    const wanted = tokens[token];
    if (wanted === "*") {
      starToken = token++;
      starMark = mark;
    } else if (wanted?.(marks[mark] as string) === true) {
      token++;
      mark++;
    } else if (starToken >= 0) {
      token = starToken + 1;
      mark = ++starMark;
    } else return false;
  }
  return tokens.slice(token).every((rest) => rest === "*");
}
