// Reads the words of a `build` step: the options of docker build that the executors know.
import { readFileSync, realpathSync } from "node:fs";
import { join, normalize, sep } from "node:path";
import type { BuildRequest } from "./build/image-builder.ts";
import { formatImageName, parseImageName } from "./image-names.ts";
import { RunError } from "./run-error.ts";

/** Options with a value, by all their names. */
const VALUED: Readonly<Record<string, "tag" | "file" | "target" | "argument">> = {
  "-t": "tag",
  "--tag": "tag",
  "-f": "file",
  "--file": "file",
  "--target": "target",
  "--build-arg": "argument",
};
const IGNORED = new Set(["--no-cache", "--pull", "--rm", "--force-rm", "--quiet", "-q"]);

const invalid = (got: string, want?: string): RunError =>
  new RunError("COMMAND_INVALID", { operation: "read", subject: "docker build", got, ...(want && { want }) });

/**
 * Reads `-t NAME -f FILE --target STAGE --build-arg NAME=VALUE CONTEXT`; the context is a folder of the workspace.
 * @throws RunError COMMAND_INVALID, SOURCE_UNAVAILABLE
 */
export function parseBuildCommand(
  words: readonly string[],
  folder: string,
  { registry, platform }: { readonly registry: string; readonly platform: BuildRequest["platform"] },
): BuildRequest {
  const values: Record<"tag" | "file" | "target" | "argument", string[]> = {
    tag: [],
    file: [],
    target: [],
    argument: [],
  };
  const positional: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at] as string;
    const equals = word.startsWith("--") ? word.indexOf("=") : -1;
    const name = equals < 0 ? word : word.slice(0, equals);
    const kind = Object.hasOwn(VALUED, name) ? VALUED[name] : undefined;
    if (kind !== undefined) {
      const value = equals < 0 ? words[++at] : word.slice(equals + 1);
      if (value === undefined) throw invalid(`${name} without a value`);
      values[kind].push(value);
    } else if (word.startsWith("-") && word !== "-") {
      if (!IGNORED.has(name)) throw invalid(`the option ${name}`, [...Object.keys(VALUED), ...IGNORED].join(", "));
    } else positional.push(word);
  }
  const [context, ...more] = positional;
  if (context === undefined || more.length > 0) throw invalid(`${positional.length} contexts`, "one");
  return {
    ...readContext(folder, context, values.file.at(-1) ?? join(context, "Dockerfile")),
    names: values.tag.map((name) => formatImageName(parseImageName(name, registry))),
    target: values.target.at(-1),
    arguments: values.argument.map((pair) => {
      const equals = pair.indexOf("=");
      if (equals < 1) throw invalid(`--build-arg ${pair}`, "name=value");
      return { name: pair.slice(0, equals), value: pair.slice(equals + 1) };
    }),
    platform,
  };
}

/**
 * The folder of a context and the text of its Dockerfile, both below `workspace`.
 * @throws RunError COMMAND_INVALID, SOURCE_UNAVAILABLE
 */
export function readContext(
  workspace: string,
  context: string,
  dockerfile: string,
): { readonly context: string; readonly dockerfile: string } {
  if (/^(?:https?|git|ssh|oci):\/\/|^git@|^-$/.test(context)) throw invalid(`the context ${context}`, "a folder");
  const folder = join(workspace, normalize(`/${context}`));
  const read = (path: string): string | undefined => {
    try {
      const real = realpathSync(path);
      return real.startsWith(`${realpathSync(workspace)}${sep}`) ? readFileSync(real, "utf8") : undefined;
    } catch {
      return undefined;
    }
  };
  const text = read(join(workspace, normalize(`/${dockerfile}`)));
  if (text !== undefined) return { context: folder, dockerfile: text };
  const facts = { operation: "read", subject: `Dockerfile ${JSON.stringify(dockerfile)}`, got: "no such file" };
  throw new RunError("SOURCE_UNAVAILABLE", { ...facts, want: "a file of the source" });
}
