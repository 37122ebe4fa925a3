// Random conditions with their text, and a plain reading of what they mean, to hold the hub's own against.
import * as fc from "fast-check";

type Value = string | number | boolean;

/** A condition as a test writes it; the paths are dotted. */
export type Condition =
  | { readonly is: "compare"; readonly path: string; readonly operator: string; readonly value: Value }
  | { readonly is: "in"; readonly path: string; readonly values: readonly Value[]; readonly negated: boolean }
  | { readonly is: "defined"; readonly path: string }
  | { readonly is: "starts"; readonly path: string; readonly prefix: string }
  | { readonly is: "not"; readonly inner: Condition }
  | { readonly is: "both" | "either"; readonly parts: readonly Condition[] };

const TAGS = ["tags.ring", "tags.lighter.slot", "tags.lighter.hold", "tags.a.b.c", "deviceId"];
const TEXTS = ["00", "07", "canary", "it's", "", "a=b", "x-y:z"];

/** Tags of a device: some of the paths that conditions ask for, sometimes with values of other types. */
export const tagsArbitrary: fc.Arbitrary<Record<string, unknown>> = fc.record(
  {
    ring: fc.oneof(fc.constantFrom(...TEXTS), fc.integer({ min: 0, max: 3 })),
    lighter: fc.oneof(
      fc.record(
        { slot: fc.constantFrom(...TEXTS), hold: fc.oneof(fc.constantFrom(...TEXTS), fc.boolean()) },
        { requiredKeys: [] },
      ),
      fc.constantFrom(...TEXTS),
    ),
    a: fc.record(
      {
        b: fc.record({ c: fc.oneof(fc.constantFrom(...TEXTS), fc.integer({ min: 0, max: 3 })) }, { requiredKeys: [] }),
      },
      { requiredKeys: [] },
    ),
  },
  { requiredKeys: [] },
);

function treeOf(leaf: fc.Arbitrary<Condition>): fc.Arbitrary<Condition> {
  return fc.letrec<{ tree: Condition }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4, depthSize: "small" },
      leaf,
      fc.record({ is: fc.constant("not" as const), inner: tie("tree") }),
      fc.record({
        is: fc.constantFrom("both" as const, "either" as const),
        parts: fc.array(tie("tree"), { minLength: 2, maxLength: 4 }),
      }),
    ),
  })).tree;
}

/** What target conditions may say. */
export const targetConditionArbitrary: fc.Arbitrary<Condition> = treeOf(
  fc.record({
    is: fc.constant("compare" as const),
    path: fc.constantFrom(...TAGS),
    operator: fc.constant("="),
    value: fc.constantFrom(...TEXTS),
  }),
);

const value: fc.Arbitrary<Value> = fc.oneof(fc.constantFrom(...TEXTS), fc.integer({ min: -1, max: 3 }), fc.boolean());
const path = fc.constantFrom(...TAGS);

/** What the WHERE of a query may say. */
export const queryConditionArbitrary: fc.Arbitrary<Condition> = treeOf(
  fc.oneof(
    fc.record({
      is: fc.constant("compare" as const),
      path,
      operator: fc.constantFrom("=", "!=", "<>", "<", "<=", ">", ">="),
      value,
    }),
    fc.record({
      is: fc.constant("in" as const),
      path,
      values: fc.array(value, { minLength: 1, maxLength: 4 }),
      negated: fc.boolean(),
    }),
    fc.record({ is: fc.constant("defined" as const), path }),
    fc.record({ is: fc.constant("starts" as const), path, prefix: fc.constantFrom("0", "can", "") }),
  ),
);

const quote = (text: string): string => `'${text.replaceAll("'", "''")}'`;
const literal = (of: Value): string => (typeof of === "string" ? quote(of) : String(of));

/** The condition as a caller would write it. */
export function writeCondition(condition: Condition): string {
  switch (condition.is) {
    case "compare":
      return `${condition.path} ${condition.operator} ${literal(condition.value)}`;
    case "in":
      return `${condition.path} ${condition.negated ? "NIN" : "in"} [${condition.values.map(literal).join(", ")}]`;
    case "defined":
      return `IS_DEFINED(${condition.path})`;
    case "starts":
      return `startswith(${condition.path}, ${quote(condition.prefix)})`;
    case "not":
      return `NOT (${writeCondition(condition.inner)})`;
    case "both":
      return condition.parts.map((part) => `(${writeCondition(part)})`).join(" AND ");
    default:
      return condition.parts.map((part) => `(${writeCondition(part)})`).join(" or ");
  }
}

function look(device: { readonly deviceId: string; readonly tags: unknown }, path: string): unknown {
  let current: unknown = device;
  for (const key of path.split(".")) {
    if (typeof current !== "object" || current === null) return undefined;
    current = Object.entries(current).find(([name]) => name === key)?.[1];
  }
  return current;
}

function compareValues(left: unknown, operator: string, right: Value): boolean | undefined {
  if (typeof left !== typeof right) return undefined;
  const order = left === right ? 0 : (left as Value) < right ? -1 : 1;
  switch (operator) {
    case "=":
      return order === 0;
    case "<":
      return order < 0;
    case "<=":
      return order <= 0;
    case ">":
      return order > 0;
    case ">=":
      return order >= 0;
    default:
      return order !== 0;
  }
}

const negate = (of: boolean | undefined): boolean | undefined => (of === undefined ? undefined : !of);

/** What the condition says of a device: yes, no, or nothing where a property is missing or of another type. */
export function judge(
  condition: Condition,
  device: { readonly deviceId: string; readonly tags: unknown },
): boolean | undefined {
  switch (condition.is) {
    case "compare":
      return compareValues(look(device, condition.path), condition.operator, condition.value);
    case "in": {
      const found = condition.values.map((one) => compareValues(look(device, condition.path), "=", one));
      const inside = found.includes(true) ? true : found.includes(undefined) ? undefined : false;
      return condition.negated ? negate(inside) : inside;
    }
    case "defined":
      return look(device, condition.path) !== undefined;
    case "starts": {
      const text = look(device, condition.path);
      return typeof text === "string" ? text.startsWith(condition.prefix) : undefined;
    }
    case "not":
      return negate(judge(condition.inner, device));
    default: {
      const parts = condition.parts.map((part) => judge(part, device));
      const decisive = condition.is === "either";
      return parts.includes(decisive) ? decisive : parts.includes(undefined) ? undefined : !decisive;
    }
  }
}
