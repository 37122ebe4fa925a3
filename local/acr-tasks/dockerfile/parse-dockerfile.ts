// Reads the Dockerfiles that the small executor carries out: a pure function from text to stages of instructions.
import { invalidLine, type LineFacts, unsupportedLine } from "./dockerfile-error.ts";
import { type LogicalLine, readLogicalLines } from "./logical-lines.ts";
import { type Pair, readJsonList, readList, readPairs, takeFlags } from "./words.ts";

/** An instruction; words are as written, to be expanded when their variables are known. */
export type Instruction = LineFacts & { readonly text: string } & (
    | { readonly kind: "arg"; readonly name: string; readonly value: string | undefined }
    | {
        readonly kind: "copy";
        readonly from: string | undefined;
        readonly sources: readonly string[];
        readonly destination: string;
      }
    | { readonly kind: "env" | "label"; readonly pairs: readonly Pair[] }
    | { readonly kind: "workdir"; readonly value: string }
    | { readonly kind: "user"; readonly value: string }
    | { readonly kind: "cmd" | "entrypoint"; readonly argv: readonly string[] }
  );

/** One stage: its base, its name if it has one, and what follows. */
export interface Stage extends LineFacts {
  readonly text: string;
  readonly image: string;
  readonly platform: string | undefined;
  readonly name: string | undefined;
  readonly instructions: readonly Instruction[];
}

/** A Dockerfile; `globalArgs` are the ARG instructions before the first FROM. */
export interface Dockerfile {
  readonly globalArgs: readonly Extract<Instruction, { readonly kind: "arg" }>[];
  readonly stages: readonly Stage[];
}

const STAGE_NAME = /^[a-z][a-z0-9-_.]*$/;
const VARIABLE = /^[A-Za-z_]\w*$/;
const OTHER_KEYWORDS = new Set("RUN ADD EXPOSE VOLUME ONBUILD STOPSIGNAL HEALTHCHECK SHELL MAINTAINER".split(" "));
const MAX_INSTRUCTIONS = 10_000;

/**
 * Parses a Dockerfile (Dockerfile reference, without BuildKit's extensions).
 * @throws RunError DOCKERFILE_UNSUPPORTED for an instruction or form outside the subset, DOCKERFILE_INVALID
 */
export function parseDockerfile(text: string): Dockerfile {
  const globalArgs: Extract<Instruction, { readonly kind: "arg" }>[] = [];
  const stages: (Stage & { readonly instructions: Instruction[] })[] = [];
  const lines = readLogicalLines(text);
  if (lines.length > MAX_INSTRUCTIONS) {
    const want = `at most ${MAX_INSTRUCTIONS}`;
    throw invalidLine({ keyword: "text", line: 1 }, `${lines.length} instructions`, want);
  }
  for (const line of lines) {
    if (line.keyword === "FROM") {
      const stage = parseFrom(line);
      if (stages.some(({ name }) => name !== undefined && name === stage.name)) {
        throw invalidLine(line, `the stage name ${stage.name} twice`);
      }
      stages.push({ ...stage, instructions: [] });
      continue;
    }
    const instruction = parseInstruction(line);
    const stage = stages.at(-1);
    if (stage !== undefined) stage.instructions.push(instruction);
    else if (instruction.kind === "arg") globalArgs.push(instruction);
    else throw invalidLine(line, "an instruction before FROM");
  }
  if (stages.length === 0) throw invalidLine({ keyword: "text", line: 1 }, "no FROM");
  return { globalArgs, stages };
}

function parseFrom(line: LogicalLine): Omit<Stage, "instructions"> {
  const { flags, rest } = takeFlags(line.rest, line);
  for (const flag of flags.keys()) if (flag !== "platform") throw unsupportedLine(line, `--${flag}`);
  const words = rest.split(/\s+/).filter((word) => word !== "");
  const [image, as, alias] = words;
  if (image === undefined || (words.length !== 1 && (words.length !== 3 || as?.toLowerCase() !== "as"))) {
    throw invalidLine(line, rest.slice(0, 80), "an image, or an image AS a name");
  }
  const name = alias?.toLowerCase();
  if (name !== undefined && !STAGE_NAME.test(name)) throw invalidLine(line, name.slice(0, 80), "a stage name");
  const { keyword, line: number } = line;
  return { keyword, line: number, text: textOf(line), image, platform: flags.get("platform"), name };
}

const textOf = ({ keyword, rest }: LogicalLine): string => `${keyword} ${rest}`;

function parseInstruction(source: LogicalLine): Instruction {
  const { keyword, line, rest } = source;
  const base = { keyword, line, text: textOf(source) };
  switch (keyword) {
    case "ARG":
      return { ...base, kind: "arg", ...parseArg(source) };
    case "COPY":
      return { ...base, kind: "copy", ...parseCopy(source) };
    case "ENV":
      return { ...base, kind: "env", pairs: readPairs(rest, source) };
    case "LABEL":
      return { ...base, kind: "label", pairs: readPairs(rest, source) };
    case "WORKDIR":
    case "USER":
      if (rest === "") throw invalidLine(source, "nothing", "a value");
      return keyword === "USER" ? { ...base, kind: "user", value: rest } : { ...base, kind: "workdir", value: rest };
    case "CMD":
    case "ENTRYPOINT":
      return { ...base, kind: keyword === "CMD" ? "cmd" : "entrypoint", argv: parseCommand(source) };
    default:
      if (OTHER_KEYWORDS.has(keyword)) throw unsupportedLine(source, keyword);
      throw invalidLine({ keyword: keyword.slice(0, 80), line }, "an unknown instruction");
  }
}

function parseArg(source: LogicalLine): { readonly name: string; readonly value: string | undefined } {
  const [pair, ...more] = source.rest.includes("=")
    ? readPairs(source.rest, source)
    : [[source.rest, undefined] as const];
  if (more.length > 0) throw unsupportedLine(source, "several arguments");
  const [name, value] = pair as readonly [string, string | undefined];
  if (!VARIABLE.test(name)) throw invalidLine(source, name.slice(0, 80), "a variable's name");
  return { name, value };
}

function parseCopy(source: LogicalLine): {
  readonly from: string | undefined;
  readonly sources: readonly string[];
  readonly destination: string;
} {
  const { flags, rest } = takeFlags(source.rest, source);
  for (const flag of flags.keys()) if (flag !== "from") throw unsupportedLine(source, `--${flag}`);
  const from = flags.get("from");
  if (from === "") throw invalidLine(source, "--from of nothing", "a stage or an image");
  const words = readList(rest, source);
  const destination = words.pop();
  if (destination === undefined || words.length === 0) {
    throw invalidLine(source, `${words.length + (destination === undefined ? 0 : 1)} paths`, "at least two");
  }
  return { from, sources: words, destination };
}

/** The shell form stands for `/bin/sh -c`. */
function parseCommand(source: LogicalLine): string[] {
  if (source.rest.startsWith("<<")) throw unsupportedLine(source, "a here-document");
  const list = readJsonList(source.rest, source);
  if (list !== undefined) return list;
  return source.rest === "" ? [] : ["/bin/sh", "-c", source.rest];
}
