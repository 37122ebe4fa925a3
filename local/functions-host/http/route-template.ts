// ASP.NET route templates: literals, parameters with constraints and defaults, optional and catch-all segments.
import { FunctionsHostError } from "../errors.ts";

/** A parsed template. */
export interface RouteTemplate {
  readonly text: string;
  /** Lower is tried first; ASP.NET's inbound precedence. */
  readonly precedence: number;
  /** The parameters of a path given as decoded segments, or undefined when it does not match. */
  match(segments: readonly string[]): Record<string, string> | undefined;
}

interface Parameter {
  readonly name: string;
  readonly catchAll: boolean;
  readonly optional: boolean;
  readonly defaultValue: string | undefined;
  readonly constraints: readonly ((value: string) => boolean)[];
}

interface Segment {
  readonly pattern: RegExp;
  readonly parameters: readonly Parameter[];
  readonly literal: boolean;
}

const GUID = /^[{(]?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}[)}]?$/i;
const NUMBER = /^[+-]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;
const isInteger = (value: string): boolean => /^[+-]?\d+$/.test(value);
const withinInteger = (bits: 32 | 64) => (value: string) =>
  isInteger(value) && BigInt(value) >= -(2n ** BigInt(bits - 1)) && BigInt(value) < 2n ** BigInt(bits - 1);

/** Constraints by name; the argument is what stands in parentheses. */
const CONSTRAINTS: Readonly<Record<string, (argument: string) => (value: string) => boolean>> = {
  alpha: () => (value) => /^[a-z]*$/i.test(value),
  bool: () => (value) => /^(true|false)$/i.test(value),
  datetime: () => (value) => !Number.isNaN(Date.parse(value)),
  decimal: () => (value) => NUMBER.test(value) && !/e/i.test(value),
  double: () => (value) => NUMBER.test(value),
  float: () => (value) => NUMBER.test(value),
  guid: () => (value) => GUID.test(value),
  int: () => withinInteger(32),
  long: () => withinInteger(64),
  length: (argument) => {
    const [min = 0, max = min] = argument.split(",").map(Number);
    return (value) => value.length >= min && value.length <= max;
  },
  max: (argument) => (value) => isInteger(value) && Number(value) <= Number(argument),
  maxlength: (argument) => (value) => value.length <= Number(argument),
  min: (argument) => (value) => isInteger(value) && Number(value) >= Number(argument),
  minlength: (argument) => (value) => value.length >= Number(argument),
  range: (argument) => {
    const [min = 0, max = 0] = argument.split(",").map(Number);
    return (value) => isInteger(value) && Number(value) >= min && Number(value) <= max;
  },
  regex: (argument) => {
    const pattern = new RegExp(argument.replaceAll("{{", "{").replaceAll("}}", "}"), "i");
    return (value) => pattern.test(value);
  },
  required: () => (value) => value !== "",
};

/** Parses a template such as `items/{id:int?}` or `files/{*path}`; throws BAD_ROUTE. */
export function parseRouteTemplate(text: string): RouteTemplate {
  const segments = splitSegments(text).map((part) => parseSegment(part, text));
  const names = segments.flatMap(({ parameters }) => parameters.map(({ name }) => name.toLowerCase()));
  if (new Set(names).size < names.length) throw badRoute(text, "a parameter twice");
  for (const [index, { parameters }] of segments.entries()) {
    const rest = segments.slice(index + 1);
    if (parameters.some(({ catchAll }) => catchAll) && rest.length > 0)
      throw badRoute(text, "a catch-all before the end");
    const canBeOmitted = (segment: Segment): boolean =>
      segment.parameters.some(
        ({ optional, catchAll, defaultValue }) => optional || catchAll || defaultValue !== undefined,
      );
    if (parameters.some(({ optional }) => optional) && !rest.every(canBeOmitted)) {
      throw badRoute(text, "an optional parameter before a required segment");
    }
  }
  return { text, precedence: computePrecedence(segments), match: (parts) => matchSegments(segments, parts) };
}

/** Splits at slashes outside braces, so that a regex constraint may contain one. */
function splitSegments(text: string): string[] {
  const trimmed = text.replace(/^\/+|\/+$/g, "");
  return trimmed === "" ? [] : trimmed.split(/\/(?![^{]*\}(?!\}))/);
}

function parseSegment(part: string, text: string): Segment {
  if (part === "") throw badRoute(text, "an empty segment");
  const parameters: Parameter[] = [];
  let pattern = "";
  let position = 0;
  while (position < part.length) {
    if (part[position] !== "{" || part[position + 1] === "{") {
      const escaped = part[position] === "{" || (part[position] === "}" && part[position + 1] === "}");
      pattern += (part[position] as string).replace(/[^A-Za-z0-9_ -]/, "\\$&");
      position += escaped ? 2 : 1;
      continue;
    }
    const end = closingBrace(part, position);
    if (end < 0) throw badRoute(text, "an open brace");
    const parameter = parseParameter(part.slice(position + 1, end), text);
    pattern += parameter.catchAll ? "(.*)" : "(.+)";
    parameters.push(parameter);
    position = end + 1;
  }
  return { pattern: new RegExp(`^${pattern}$`, "is"), parameters, literal: parameters.length === 0 };
}

function closingBrace(part: string, start: number): number {
  for (let index = start + 1; index < part.length; index++) {
    if ((part[index] === "{" || part[index] === "}") && part[index + 1] === part[index]) index++;
    else if (part[index] === "}") return index;
  }
  return -1;
}

function parseParameter(source: string, text: string): Parameter {
  const match = /^(\*{0,2})([A-Za-z_][\w-]*)((?::(?:[^:=?()]+(?:\((?:[^()]|\([^()]*\))*\))?))*)(?:=(.*?))?(\?)?$/s.exec(
    source,
  );
  if (match === null) throw badRoute(text, `{${source}}`);
  const [, stars = "", name = "", constraintText = "", defaultValue, question] = match;
  const constraints = [...constraintText.matchAll(/:([^:=?()]+)(?:\(((?:[^()]|\([^()]*\))*)\))?/gs)].map(
    ([, kind = "", argument]) => {
      const make = CONSTRAINTS[kind.trim().toLowerCase()];
      if (make === undefined) throw badRoute(text, `constraint ${kind}`);
      return make(argument ?? "");
    },
  );
  return { name, catchAll: stars !== "", optional: question !== undefined, defaultValue, constraints };
}

function computePrecedence(segments: readonly Segment[]): number {
  return segments.reduce((total, { literal, parameters }, index) => {
    const [parameter] = parameters;
    const constrained = (parameter?.constraints.length ?? 0) > 0;
    let digit = 3;
    if (literal) digit = 1;
    else if (parameters.length > 1 || parameter === undefined) digit = 2;
    else if (parameter.catchAll) digit = constrained ? 4 : 5;
    else if (constrained) digit = 2;
    return total + digit / 10 ** index;
  }, 0);
}

function matchSegments(segments: readonly Segment[], parts: readonly string[]): Record<string, string> | undefined {
  const values: Record<string, string> = {};
  for (const [index, { pattern, parameters, literal }] of segments.entries()) {
    const catchAll = parameters[0]?.catchAll === true;
    const part = catchAll ? parts.slice(index).join("/") : parts[index];
    if (part === undefined || (part === "" && !literal)) {
      if (!fillIn(parameters, values)) return undefined;
      continue;
    }
    const match = pattern.exec(part);
    if (match === null) return undefined;
    for (const [position, { name, constraints }] of parameters.entries()) {
      const value = match[position + 1] ?? "";
      if (!constraints.every((holds) => holds(value))) return undefined;
      values[name] = value;
    }
  }
  const last = segments.at(-1)?.parameters[0]?.catchAll === true;
  return parts.length > segments.length && !last ? undefined : values;
}

/** A missing segment is fine if its parameter is optional, a catch-all or has a default. */
function fillIn(parameters: readonly Parameter[], values: Record<string, string>): boolean {
  const [parameter] = parameters;
  if (parameters.length !== 1 || parameter === undefined) return false;
  if (parameter.defaultValue !== undefined) values[parameter.name] = parameter.defaultValue;
  return parameter.defaultValue !== undefined || parameter.optional || parameter.catchAll;
}

function badRoute(text: string, got: string): FunctionsHostError {
  return new FunctionsHostError("BAD_ROUTE", {
    operation: "parse route",
    subject: text,
    got,
    want: "an ASP.NET route template",
  });
}
