// Parses the query language of twins and jobs.
import type { Comparison, Expression, Operand, TestName } from "./expression.ts";
import { SyntaxProblem, type TokenReader, createTokenReader, tokenize } from "./lexer.ts";
import { badRequest } from "./iot-hub-error.ts";
import { type AggregateName, type Column, type Query, type QuerySource, isAggregated } from "./query.ts";

const COMPARISONS: Readonly<Record<string, Comparison>> = {
  "=": "=",
  "!=": "!=",
  "<>": "!=",
  "<": "<",
  "<=": "<=",
  ">": ">",
  ">=": ">=",
};

/** How many operands each test takes, by every spelling the service knows. */
const TESTS: Readonly<Record<string, readonly [TestName, number]>> = {
  IS_DEFINED: ["IS_DEFINED", 1],
  IS_NULL: ["IS_NULL", 1],
  IS_BOOL: ["IS_BOOL", 1],
  IS_NUMBER: ["IS_NUMBER", 1],
  IS_STRING: ["IS_STRING", 1],
  IS_OBJECT: ["IS_OBJECT", 1],
  IS_PRIMITIVE: ["IS_PRIMITIVE", 1],
  STARTSWITH: ["STARTSWITH", 2],
  STARTS_WITH: ["STARTSWITH", 2],
  ENDSWITH: ["ENDSWITH", 2],
  ENDS_WITH: ["ENDSWITH", 2],
  CONTAINS: ["CONTAINS", 2],
};

const AGGREGATES: readonly string[] = ["COUNT", "SUM", "MIN", "MAX", "AVG"] satisfies AggregateName[];
const KEYWORDS: ReadonlySet<string> = new Set([
  "SELECT",
  "TOP",
  "AS",
  "FROM",
  "WHERE",
  "GROUP",
  "BY",
  "AND",
  "OR",
  "NOT",
  "IN",
  "NIN",
]);

function reading<T>(source: string, parse: (reader: TokenReader) => T): T {
  try {
    const reader = createTokenReader(tokenize(source, { doubleQuotes: true }));
    const result = parse(reader);
    if (reader.peek().kind !== "end") reader.fail("the end of the query");
    return result;
  } catch (error) {
    if (error instanceof SyntaxProblem) throw badRequest(`BadRequest: The query is not valid: ${error.message}`);
    throw error;
  }
}

/** Parses a whole query; throws IotHubError ArgumentInvalid that says where and why. */
export function parseQuery(source: string): Query {
  return reading(source, (reader) => {
    reader.expect("SELECT");
    const top = reader.accept("TOP") ? parseTop(reader) : undefined;
    const columns = reader.accept("*") ? "*" : parseList(reader, parseColumn);
    reader.expect("FROM");
    const from = parseSource(reader);
    const where = reader.accept("WHERE") ? parseOr(reader) : undefined;
    const groupBy = reader.accept("GROUP") ? parseGroupBy(reader) : [];
    const query: Query = { columns, top, source: from, where, groupBy };
    checkGrouping(query);
    return query;
  });
}

/** Parses the condition of a job or metric on its own, as after WHERE. */
export function parseCondition(source: string): Expression {
  return reading(source, parseOr);
}

function parseList<T>(reader: TokenReader, parse: (reader: TokenReader) => T): T[] {
  const items = [parse(reader)];
  while (reader.accept(",")) items.push(parse(reader));
  return items;
}

function parseTop(reader: TokenReader): number {
  const token = reader.peek();
  if (token.kind !== "number" || !/^[1-9][0-9]*$/.test(token.text)) reader.fail("a positive number");
  return Number(reader.next().text);
}

function parseSource(reader: TokenReader): QuerySource {
  reader.expect("devices");
  if (!reader.accept(".")) return "devices";
  if (reader.accept("modules")) return "devices.modules";
  if (reader.accept("jobs")) return "devices.jobs";
  return reader.fail("modules or jobs");
}

function parseColumn(reader: TokenReader): Column {
  const token = reader.peek();
  if (token.kind === "name" && AGGREGATES.includes(token.text.toUpperCase())) {
    const name = reader.next().text.toUpperCase() as AggregateName;
    reader.expect("(");
    const path = name === "COUNT" ? undefined : parsePath(reader);
    reader.expect(")");
    reader.expect("AS");
    return { kind: "aggregate", name, path, as: parseName(reader) };
  }
  const path = parsePath(reader);
  return { kind: "path", path, as: reader.accept("AS") ? parseName(reader) : (path.at(-1) as string) };
}

function parseName(reader: TokenReader): string {
  const token = reader.peek();
  if (token.kind !== "name" || KEYWORDS.has(token.text.toUpperCase())) reader.fail("a name");
  return reader.next().text;
}

/** A property path; `[[id]]` may stand for one segment, and a leading name of the collection is dropped. */
function parsePath(reader: TokenReader): string[] {
  const path = [parseName(reader)];
  while (reader.accept(".")) {
    const token = reader.peek();
    if (token.kind !== "bracketed" && token.kind !== "name" && !/^[0-9]+$/.test(token.text))
      reader.fail("the name of a property");
    path.push(reader.next().text);
  }
  if (path[0] !== "devices" || path.length === 1) return path;
  return path[1] === "jobs" || path[1] === "modules" ? path.slice(2) : path.slice(1);
}

function parseGroupBy(reader: TokenReader): string[][] {
  reader.expect("BY");
  return parseList(reader, parsePath);
}

function checkGrouping(query: Query): void {
  if (!isAggregated(query)) return;
  if (query.columns === "*") throw badRequest("BadRequest: SELECT * cannot be combined with GROUP BY");
  const groups = new Set(query.groupBy.map((path) => path.join(".")));
  for (const column of query.columns) {
    if (column.kind === "path" && !groups.has(column.path.join("."))) {
      throw badRequest(`BadRequest: column ${column.path.join(".")} is neither aggregated nor in GROUP BY`);
    }
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
  return parseTest(reader) ?? parseComparison(reader);
}

function parseTest(reader: TokenReader): Expression | undefined {
  const token = reader.peek();
  const test = token.kind === "name" ? TESTS[token.text.toUpperCase()] : undefined;
  if (test === undefined) return undefined;
  const [name, arity] = test;
  reader.next();
  reader.expect("(");
  const operands = parseList(reader, parseOperand);
  if (operands.length !== arity) throw new SyntaxProblem(token.at, `${name} takes ${arity} argument(s)`);
  reader.expect(")");
  return { kind: "test", name, operands };
}

function parseComparison(reader: TokenReader): Expression {
  const left = parseOperand(reader);
  if (reader.accept("IN")) return parseMembership(reader, left);
  if (reader.accept("NIN")) return { kind: "not", expression: parseMembership(reader, left) };
  const operator = reader.peek().kind === "symbol" ? COMPARISONS[reader.peek().text] : undefined;
  if (operator === undefined) return reader.fail("a comparison");
  reader.next();
  return { kind: "compare", operator, left, right: parseOperand(reader) };
}

/** `x IN ['a', 'b']` says `x = 'a' OR x = 'b'`. */
function parseMembership(reader: TokenReader, left: Operand): Expression {
  reader.expect("[");
  const values = parseList(reader, parseOperand);
  reader.expect("]");
  return { kind: "or", parts: values.map((right) => ({ kind: "compare", operator: "=", left, right })) };
}

function parseOperand(reader: TokenReader): Operand {
  const token = reader.peek();
  if (token.kind === "string") return { kind: "value", value: reader.next().text };
  if (token.kind === "number") return { kind: "value", value: Number(reader.next().text) };
  if (token.kind !== "name") return reader.fail("a property or a value");
  const word = token.text.toUpperCase();
  if (word === "TRUE" || word === "FALSE" || word === "NULL") {
    reader.next();
    return { kind: "value", value: word === "NULL" ? null : word === "TRUE" };
  }
  const path = parsePath(reader);
  if (reader.peek().text === "(") throw new SyntaxProblem(token.at, `function ${token.text} is not supported`);
  return { kind: "path", path };
}
