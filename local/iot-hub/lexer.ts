// Cuts target conditions and queries into tokens.

/** A word, value or sign of a text. */
export interface Token {
  readonly kind: "name" | "string" | "number" | "bracketed" | "symbol" | "end";
  /** The text as written; for strings and `[[…]]` the value inside. */
  readonly text: string;
  /** The offset in the source, for messages. */
  readonly at: number;
}

/** How strings may be written: queries also know double quotes and backslashes. */
export interface LexerOptions {
  readonly doubleQuotes: boolean;
}

/** A text outside the grammar; callers turn it into the service's error for their kind of text. */
export class SyntaxProblem extends Error {
  override readonly name = "SyntaxProblem";

  constructor(at: number, message: string) {
    super(`${message} at position ${at}`);
  }
}

const SPACE = /\s*/y;
const NAME = /[A-Za-z_$][A-Za-z0-9_$]*/y;
const NUMBER = /-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const BRACKETED = /\[\[([^\]]+)\]\]/y;
const SYMBOL = /<=|>=|<>|!=|[=<>()[\],.*]/y;
const SINGLE_QUOTED = /'((?:[^']|'')*)'/y;
const SINGLE_QUOTED_ESCAPES = /'((?:[^'\\]|''|\\.)*)'/y;
const DOUBLE_QUOTED = /"((?:[^"\\]|\\.)*)"/y;
const ESCAPE = /\\(?:u([0-9a-fA-F]{4})|(.))/g;

function unescape(text: string): string {
  return text.replace(ESCAPE, (_, code: string | undefined, character: string) =>
    code === undefined ? character : String.fromCharCode(Number.parseInt(code, 16)),
  );
}

/** Cuts `source` into tokens, ending with one of kind `end`; throws SyntaxProblem. */
export function tokenize(source: string, { doubleQuotes }: LexerOptions): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    return pattern.exec(source);
  };
  const read = (): Token => {
    const name = match(NAME);
    if (name !== null) return take("name", name[0], name);
    const number = match(NUMBER);
    if (number !== null) return take("number", number[0], number);
    const bracketed = match(BRACKETED);
    if (bracketed !== null) return take("bracketed", bracketed[1] ?? "", bracketed);
    const single = match(doubleQuotes ? SINGLE_QUOTED_ESCAPES : SINGLE_QUOTED);
    if (single !== null) {
      const text = (single[1] ?? "").replaceAll("''", "'");
      return take("string", doubleQuotes ? unescape(text) : text, single);
    }
    const double = doubleQuotes ? match(DOUBLE_QUOTED) : null;
    if (double !== null) return take("string", unescape(double[1] ?? ""), double);
    const symbol = match(SYMBOL);
    if (symbol !== null) return take("symbol", symbol[0], symbol);
    throw new SyntaxProblem(at, source[at] === "'" ? "string is not closed" : `unexpected character ${source[at]}`);
  };
  const take = (kind: Token["kind"], text: string, found: RegExpExecArray): Token => {
    const token = { kind, text, at };
    at += found[0].length;
    return token;
  };
  for (;;) {
    at += match(SPACE)?.[0].length ?? 0;
    if (at >= source.length) break;
    tokens.push(read());
  }
  tokens.push({ kind: "end", text: "the end", at });
  return tokens;
}

/** A cursor over tokens with the few moves that recursive descent needs. */
export interface TokenReader {
  peek(): Token;
  next(): Token;
  /** Takes the token if it is this symbol or, in any case of letters, this keyword. */
  accept(text: string): boolean;
  /** Takes the token or throws SyntaxProblem. */
  expect(text: string): void;
  fail(wanted: string): never;
}

/** Creates a cursor at the first of the tokens. */
export function createTokenReader(tokens: readonly Token[]): TokenReader {
  let position = 0;
  const peek = (): Token => tokens[position] as Token;
  const is = (token: Token, text: string): boolean =>
    (token.kind === "symbol" && token.text === text) ||
    (token.kind === "name" && token.text.toUpperCase() === text.toUpperCase());
  const fail = (wanted: string): never => {
    throw new SyntaxProblem(peek().at, `found ${peek().text} where ${wanted} is expected`);
  };
  const accept = (text: string): boolean => {
    if (!is(peek(), text)) return false;
    position += 1;
    return true;
  };
  return {
    peek,
    next: () => {
      const token = peek();
      if (token.kind !== "end") position += 1;
      return token;
    },
    accept,
    expect: (text) => {
      if (!accept(text)) fail(text);
    },
    fail,
  };
}
