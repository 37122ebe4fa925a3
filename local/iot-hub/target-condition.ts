// The target conditions of configurations: the service's grammar, and nothing more.
import type { Expression } from "./expression.ts";
import { IotHubError } from "./iot-hub-error.ts";
import { SyntaxProblem, type TokenReader, createTokenReader, tokenize } from "./lexer.ts";

const MAX_LENGTH = 8_192;
const VALUE = /^[A-Za-z0-9\-:.+%_#*?!(),=@;$']*$/;

/** What a condition selects: every device (`*`), none (empty), or those for which an expression holds. */
export type TargetCondition =
  | { readonly kind: "all" }
  | { readonly kind: "none" }
  | { readonly kind: "expression"; readonly expression: Expression };

/**
 * Parses a target condition: `=` with AND, OR, NOT and parentheses over `tags.…` and `deviceId`, values in single
 * quotes with `''` for a quote, `*` for all; at most 8,192 characters.
 * @throws IotHubError InvalidConfigurationTargetCondition
 */
export function parseTargetCondition(source: string): TargetCondition {
  try {
    if (source.length > MAX_LENGTH) throw new SyntaxProblem(MAX_LENGTH, `longer than ${MAX_LENGTH} characters`);
    if (source.trim() === "") return { kind: "none" };
    if (source.trim() === "*") return { kind: "all" };
    const reader = createTokenReader(tokenize(source, { doubleQuotes: false }));
    const expression = parseOr(reader);
    if (reader.peek().kind !== "end") reader.fail("AND, OR or the end");
    return { kind: "expression", expression };
  } catch (error) {
    if (!(error instanceof SyntaxProblem)) throw error;
    throw new IotHubError(400, "InvalidConfigurationTargetCondition", `Invalid target condition: ${error.message}`);
  }
}

function parseOr(reader: TokenReader): Expression {
  const parts = [parseAnd(reader)];
  while (reader.accept("OR")) parts.push(parseAnd(reader));
  return parts.length === 1 ? (parts[0] as Expression) : { kind: "or", parts };
}

function parseAnd(reader: TokenReader): Expression {
  const parts = [parseNot(reader)];
  while (reader.accept("AND")) parts.push(parseNot(reader));
  return parts.length === 1 ? (parts[0] as Expression) : { kind: "and", parts };
}

function parseNot(reader: TokenReader): Expression {
  if (reader.accept("NOT")) return { kind: "not", expression: parseNot(reader) };
  if (reader.accept("(")) {
    const inner = parseOr(reader);
    reader.expect(")");
    return inner;
  }
  return parseEquality(reader);
}

function parseEquality(reader: TokenReader): Expression {
  const path = parsePath(reader);
  reader.expect("=");
  const value = reader.peek();
  if (value.kind !== "string") reader.fail("a value in single quotes");
  if (!VALUE.test(value.text))
    throw new SyntaxProblem(value.at, `value '${value.text}' has a character that is not allowed`);
  reader.next();
  return {
    kind: "compare",
    operator: "=",
    left: { kind: "path", path },
    right: { kind: "value", value: value.text },
  };
}

function parsePath(reader: TokenReader): string[] {
  const first = reader.peek();
  if (first.kind !== "name" || (first.text !== "tags" && first.text !== "deviceId")) reader.fail("tags.… or deviceId");
  reader.next();
  const path = [first.text];
  while (first.text === "tags" && reader.accept(".")) {
    const segment = reader.peek();
    if (segment.kind !== "name" || segment.text.includes("$")) reader.fail("the name of a tag");
    path.push(reader.next().text);
  }
  if (first.text === "tags" && path.length === 1) reader.fail(". and the name of a tag");
  return path;
}
