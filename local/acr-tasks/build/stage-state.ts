// An image while its Dockerfile's stage is carried out: configuration, history, layers and file tree.
import { createDirectory, type DirectoryNode } from "../../edge-device/layer-tree.ts";
import { expandWord } from "../dockerfile/expand-word.ts";
import type { Instruction, Stage } from "../dockerfile/parse-dockerfile.ts";
import type { BaseImage, ImageJson, ImageLayer } from "./base-image.ts";

/** The part of a configuration that instructions change. */
interface StageConfig {
  readonly Env?: readonly string[];
  readonly Labels?: Readonly<Record<string, string>>;
  readonly Cmd?: readonly string[] | null;
  readonly Entrypoint?: readonly string[] | null;
  readonly WorkingDir?: string;
  readonly User?: string;
  readonly [key: string]: unknown;
}

/** One entry of an image's history. */
interface HistoryEntry {
  readonly created: string;
  readonly created_by: string;
  readonly empty_layer?: true;
}

/** A stage; it changes as instructions are carried out. */
export interface StageState {
  readonly base: ImageJson;
  config: StageConfig;
  readonly history: unknown[];
  readonly layers: ImageLayer[];
  readonly tree: DirectoryNode;
  /** Values of ARG instructions so far. */
  readonly args: Map<string, string>;
  hasOwnCommand: boolean;
}

/** A stage that starts from an image, or from nothing. */
export function startStage(base: BaseImage | undefined): StageState {
  const json = base?.json ?? {};
  return {
    base: json,
    config: { ...json.config },
    history: [...(json.history ?? [])],
    layers: [...(base?.layers ?? [])],
    tree: base?.tree ?? createDirectory(),
    args: new Map(),
    hasOwnCommand: false,
  };
}

/** What `$name` stands for: ENV before ARG. */
export function variablesOf({ config, args }: StageState): Map<string, string> {
  const variables = new Map(args);
  for (const pair of config.Env ?? []) {
    const equals = pair.indexOf("=");
    variables.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
  return variables;
}

/** Adds an entry to the history; `layer` is what the instruction made, if anything. */
export function record(state: StageState, source: Instruction | Stage, nowMs: number, layer?: ImageLayer): void {
  if (layer !== undefined) state.layers.push(layer);
  const entry: HistoryEntry = { created: new Date(nowMs).toISOString(), created_by: source.text };
  state.history.push(layer === undefined ? { ...entry, empty_layer: true } : entry);
}

/** The absolute form of a path of WORKDIR or COPY. */
export function absolutePath({ config }: StageState, path: string): string {
  return path.startsWith("/") ? path : `${(config.WorkingDir || "/").replace(/\/+$/, "")}/${path}`;
}

/** Carries out an instruction that touches the configuration only. @throws RunError DOCKERFILE_INVALID */
export function configure(
  state: StageState,
  instruction: Exclude<Instruction, { readonly kind: "arg" | "copy" | "workdir" }>,
): void {
  const variables = variablesOf(state);
  const expand = (word: string): string => expandWord(word, variables, instruction);
  const { config } = state;
  switch (instruction.kind) {
    case "env": {
      const env = new Map((config.Env ?? []).map((pair): [string, string] => [pair.slice(0, pair.indexOf("=")), pair]));
      for (const [name, value] of instruction.pairs) env.set(expand(name), `${expand(name)}=${expand(value)}`);
      state.config = { ...config, Env: [...env.values()] };
      break;
    }
    case "label": {
      const labels = instruction.pairs.map(([name, value]) => [expand(name), expand(value)]);
      state.config = { ...config, Labels: { ...config.Labels, ...Object.fromEntries(labels) } };
      break;
    }
    case "user":
      state.config = { ...config, User: expand(instruction.value) };
      break;
    case "cmd":
      state.config = { ...config, Cmd: instruction.argv };
      state.hasOwnCommand = true;
      break;
    case "entrypoint":
      // A base's command belongs to the base's entry point.
      state.config = { ...config, Entrypoint: instruction.argv, ...(state.hasOwnCommand ? {} : { Cmd: null }) };
  }
}
