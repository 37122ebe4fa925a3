// Conditions over twins, shared by target conditions and queries: their tree, and its compilation to a predicate.

/** True, false, or undefined where a property is missing or the types do not compare, as the service reasons. */
type Ternary = boolean | undefined;

type Scalar = string | number | boolean | null;

/** One side of a comparison, or an argument of a test. */
export type Operand =
  | { readonly kind: "path"; readonly path: readonly string[] }
  | { readonly kind: "value"; readonly value: Scalar };

/** How two values are compared; `<>` is read as `!=`. */
export type Comparison = "=" | "!=" | "<" | "<=" | ">" | ">=";

/** The functions that yield true or false. */
export type TestName =
  | "IS_DEFINED"
  | "IS_NULL"
  | "IS_BOOL"
  | "IS_NUMBER"
  | "IS_STRING"
  | "IS_OBJECT"
  | "IS_PRIMITIVE"
  | "STARTSWITH"
  | "ENDSWITH"
  | "CONTAINS";

/** A condition over the properties of one row. */
export type Expression =
  | { readonly kind: "compare"; readonly operator: Comparison; readonly left: Operand; readonly right: Operand }
  | { readonly kind: "test"; readonly name: TestName; readonly operands: readonly Operand[] }
  | { readonly kind: "not"; readonly expression: Expression }
  | { readonly kind: "and" | "or"; readonly parts: readonly Expression[] };

/** Reads a property of a row; undefined when it has none. */
export type Read<Row> = (row: Row) => unknown;
/** What a condition says of a row. */
export type Predicate<Row> = (row: Row) => Ternary;

/** Resolves a path to a reader, once per compilation. */
export type ReaderOf<Row> = (path: readonly string[]) => Read<Row>;

function compare(operator: Comparison, left: unknown, right: unknown): Ternary {
  if (left === undefined || right === undefined || typeof left !== typeof right) return undefined;
  if (typeof left === "object" || typeof right === "object") {
    return left === null && right === null && (operator === "=" || operator === "!=") ? operator === "=" : undefined;
  }
  if (operator === "=") return left === right;
  if (operator === "!=") return left !== right;
  const [a, b] = [left as string, right as string];
  if (operator === "<") return a < b;
  if (operator === "<=") return a <= b;
  return operator === ">" ? a > b : a >= b;
}

function onText(test: (text: string, part: string) => boolean): (values: readonly unknown[]) => Ternary {
  return ([text, part]) => (typeof text === "string" && typeof part === "string" ? test(text, part) : undefined);
}

function onType(test: (value: unknown) => boolean): (values: readonly unknown[]) => Ternary {
  return ([value]) => value !== undefined && test(value);
}

const TESTS: Readonly<Record<TestName, (values: readonly unknown[]) => Ternary>> = {
  IS_DEFINED: onType(() => true),
  IS_NULL: onType((value) => value === null),
  IS_BOOL: onType((value) => typeof value === "boolean"),
  IS_NUMBER: onType((value) => typeof value === "number"),
  IS_STRING: onType((value) => typeof value === "string"),
  IS_OBJECT: onType((value) => typeof value === "object" && value !== null && !Array.isArray(value)),
  IS_PRIMITIVE: onType((value) => value === null || typeof value !== "object"),
  STARTSWITH: onText((text, part) => text.startsWith(part)),
  ENDSWITH: onText((text, part) => text.endsWith(part)),
  CONTAINS: onText((text, part) => text.includes(part)),
};

/** The path and text of `path = 'text'`, the form that long OR chains are made of. */
function asTextEquality(expression: Expression): { path: readonly string[]; text: string } | undefined {
  if (expression.kind !== "compare" || expression.operator !== "=" || expression.left.kind !== "path") return undefined;
  if (expression.right.kind !== "value" || typeof expression.right.value !== "string") return undefined;
  return { path: expression.left.path, text: expression.right.value };
}

function compileTextEquality<Row>(text: string, read: Read<Row>): Predicate<Row> {
  return (row) => {
    const value = read(row);
    return typeof value === "string" ? value === text : undefined;
  };
}

/** Compiles the parts of an OR; equalities on one path become one look-up in a set. */
function compileAlternatives<Row>(parts: readonly Expression[], readerOf: ReaderOf<Row>): Predicate<Row>[] {
  const texts = new Map<string, { path: readonly string[]; values: Set<string> }>();
  const others: Predicate<Row>[] = [];
  for (const part of parts) {
    const equality = asTextEquality(part);
    if (equality === undefined) {
      others.push(compileExpression(part, readerOf));
      continue;
    }
    const key = equality.path.join("\0");
    const group = texts.get(key) ?? { path: equality.path, values: new Set() };
    texts.set(key, group);
    group.values.add(equality.text);
  }
  const lookUps = [...texts.values()].map(({ path, values }): Predicate<Row> => {
    const read = readerOf(path);
    return (row) => {
      const value = read(row);
      return typeof value === "string" ? values.has(value) : undefined;
    };
  });
  return [...lookUps, ...others];
}

function all<Row>(predicates: readonly Predicate<Row>[]): Predicate<Row> {
  return (row) => {
    let result: Ternary = true;
    for (const predicate of predicates) {
      const value = predicate(row);
      if (value === false) return false;
      if (value === undefined) result = undefined;
    }
    return result;
  };
}

function any<Row>(predicates: readonly Predicate<Row>[]): Predicate<Row> {
  return (row) => {
    let result: Ternary = false;
    for (const predicate of predicates) {
      const value = predicate(row);
      if (value === true) return true;
      if (value === undefined) result = undefined;
    }
    return result;
  };
}

/**
 * Compiles an expression to the question whether it selects a row: whether it is true, neither false nor undefined.
 * The parts of an AND at the top are asked in turn until one is not true.
 */
export function compileSelector<Row>(expression: Expression, readerOf: ReaderOf<Row>): (row: Row) => boolean {
  if (expression.kind !== "and") {
    const predicate = compileExpression(expression, readerOf);
    return (row) => predicate(row) === true;
  }
  const selectors = expression.parts.map((part) => compileSelector(part, readerOf));
  return (row) => {
    for (const selects of selectors) if (!selects(row)) return false;
    return true;
  };
}

/** Compiles an expression to a predicate of three values. */
export function compileExpression<Row>(expression: Expression, readerOf: ReaderOf<Row>): Predicate<Row> {
  const operand = (of: Operand): Read<Row> => (of.kind === "value" ? () => of.value : readerOf(of.path));
  switch (expression.kind) {
    case "compare": {
      const { operator } = expression;
      const equality = asTextEquality(expression);
      if (equality !== undefined) return compileTextEquality(equality.text, readerOf(equality.path));
      const [left, right] = [operand(expression.left), operand(expression.right)];
      return (row) => compare(operator, left(row), right(row));
    }
    case "test": {
      const test = TESTS[expression.name];
      const operands = expression.operands.map(operand);
      return (row) => test(operands.map((read) => read(row)));
    }
    case "not": {
      const inner = compileExpression(expression.expression, readerOf);
      return (row) => {
        const value = inner(row);
        return value === undefined ? undefined : !value;
      };
    }
    case "and":
      return all(expression.parts.map((part) => compileExpression(part, readerOf)));
    case "or": {
      const alternatives = compileAlternatives(expression.parts, readerOf);
      return alternatives.length === 1 ? (alternatives[0] as Predicate<Row>) : any(alternatives);
    }
    default:
      return expression satisfies never;
  }
}
