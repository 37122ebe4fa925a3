// Advises on the order of an image's build instructions: what churns, what it costs per push, and what would help.
import type { ContentRules } from "../content-rules.ts";
import { displayPath } from "../entry-path.ts";
import { listHiddenFiles, type HiddenFiles } from "./hidden-files.ts";
import { listInstructions, type IndexedImage, type Instruction } from "./instructions.ts";
import { followLayers, type LayerChange, type LayerFate } from "./layer-changes.ts";

/** An instruction and what became of its layer in the pushes that were looked at. */
interface InstructionHistory extends Instruction {
  /** How many pushes left its layer alone, built it anew with equal content, changed it, or brought it. */
  readonly pushes: Readonly<Record<LayerFate, number>>;
  /** Bytes that each device downloads per push, on average, although their content did not change. */
  readonly churnBytes: number;
}

/** One piece of advice; `layers` are the positions of the instructions that it is about. */
interface Advice {
  /**
   * `reorder`: put instructions whose layers do not change before one whose layer does. `cache`: nothing below changes,
   * so a build with its cache keeps the layer. `split`: copy what changes apart from what does not. `hidden`: do not
   * ship what a later layer hides.
   */
  readonly kind: "reorder" | "cache" | "split" | "hidden";
  readonly layers: readonly number[];
  readonly text: string;
  /** What a device saves: bytes per push as downloaded, on average; of `hidden`, bytes before compression, once. */
  readonly bytes: number;
  /** True when `bytes` is computed from sizes before compression. */
  readonly estimated: boolean;
}

/** What was found. */
export interface ImageAdvice {
  /** How many pushes were compared. */
  readonly pushes: number;
  readonly instructions: readonly InstructionHistory[];
  readonly hidden: readonly HiddenFiles[];
  readonly advice: readonly Advice[];
}

/** Splitting a layer is advised if it saves at least this much. */
const MIN_SPLIT_BYTES = 64 * 1024;
/** Hidden files are worth a word from this size on. */
const MIN_HIDDEN_BYTES = 4 * 1024;

/** Lists of packages, which an installing instruction reads. */
const PACKAGE_LIST =
  /(?:^|\/)(?:requirements[^/]*\.txt|(?:conda|environment)[^/]*\.ya?ml|pyproject\.toml|poetry\.lock|Pipfile(?:\.lock)?|package(?:-lock)?\.json)$/;

/**
 * Looks at an image and at earlier pushes of it, newest first. Without earlier ones it goes by what layers hold: that a
 * model or code changes with each push and dependencies do not.
 */
export function adviseImage(
  image: IndexedImage,
  earlier: readonly IndexedImage[],
  rules: ContentRules = {},
): ImageAdvice {
  const line = [image, ...earlier];
  const pushes = earlier.map((before, at) => followLayers(before, line[at] as IndexedImage, rules));
  const steps = listInstructions(image);
  // Older pushes count for the instruction of the same words; where there are none, for the layer of the same height.
  const changesOf = (step: Instruction): LayerChange[] =>
    pushes.flatMap((changes, at) => {
      const found = findStep(listInstructions(line[at] as IndexedImage), step);
      const change = found === undefined ? undefined : changes[found.layer - 1];
      return change === undefined ? [] : [change];
    });
  const instructions = steps.map((step): InstructionHistory => {
    const changes = changesOf(step);
    const count = (fate: LayerFate): number => changes.filter((change) => change.fate === fate).length;
    const churned = changes.filter(({ fate }) => fate === "rebuilt").reduce((total, { size }) => total + size, 0);
    return {
      ...step,
      pushes: { same: count("same"), rebuilt: count("rebuilt"), changed: count("changed"), new: count("new") },
      churnBytes: pushes.length === 0 ? 0 : Math.round(churned / pushes.length),
    };
  });
  const hidden = listHiddenFiles(image.layers.map(({ index }) => index));
  const advice = [
    ...(pushes.length === 0 ? adviseByContent(instructions, image) : adviseByChurn(instructions, image)),
    ...adviseSplits(instructions, changesOf),
    ...adviseHidden(hidden, instructions),
  ];
  return { pushes: pushes.length, instructions, hidden, advice };
}

function findStep(steps: readonly Instruction[], wanted: Instruction): Instruction | undefined {
  const same =
    wanted.createdBy === "unknown" ? undefined : steps.find(({ createdBy }) => createdBy === wanted.createdBy);
  return same ?? steps.find(({ layer }) => layer === wanted.layer);
}

/** What is built anew above a layer that really changed belongs before it; what is built anew alone needs a cache. */
function adviseByChurn(instructions: readonly InstructionHistory[], image: IndexedImage): Advice[] {
  const churning = instructions.filter(({ churnBytes }) => churnBytes > 0);
  const cause = instructions.find(({ pushes }) => pushes.changed > 0);
  const above = cause === undefined ? [] : churning.filter(({ layer }) => layer > cause.layer);
  const alone = churning.filter((step) => !above.includes(step));
  const advice: Advice[] = alone.map((step) => ({
    kind: "cache",
    layers: [step.layer],
    text:
      `${quote(step)} is built anew with equal content, though nothing below it changes: build with the cache of ` +
      "the last build (docker build --cache-from), or from a pinned base image",
    bytes: step.churnBytes,
    estimated: false,
  }));
  if (cause !== undefined && above.length > 0) advice.unshift(toReorder(above, cause, image, sum(above)));
  return advice;
}

/** Dependencies above a model or code will be built anew whenever that changes. */
function adviseByContent(instructions: readonly InstructionHistory[], image: IndexedImage): Advice[] {
  const cause = instructions.find((step) => step.class === "model" || step.class === "code");
  const above = instructions.filter(
    (step) => cause !== undefined && step.layer > cause.layer && ["dependencies", "system"].includes(step.class),
  );
  if (cause === undefined || above.length === 0) return [];
  const bytes = above.reduce((total, { size }) => total + size, 0);
  return [toReorder(above, cause, image, bytes)];
}

function sum(steps: readonly InstructionHistory[]): number {
  return steps.reduce((total, { churnBytes }) => total + churnBytes, 0);
}

function toReorder(
  above: readonly InstructionHistory[],
  cause: Instruction,
  image: IndexedImage,
  bytes: number,
): Advice {
  const lists = (image.layers[cause.layer - 1]?.index.entries ?? [])
    .filter((entry) => entry.kind === "entry" && entry.type === "file" && PACKAGE_LIST.test(entry.path))
    .map(({ path }) => displayPath(path));
  const copyFirst =
    lists.length === 0 ? "" : `; copy ${lists.slice(0, 3).join(", ")} in an instruction of its own before that`;
  return {
    kind: "reorder",
    layers: [...above.map(({ layer }) => layer), cause.layer],
    text:
      `put ${above.map(quote).join(" and ")} before ${quote(cause)}: ` +
      `${above.length === 1 ? "it does" : "they do"} not depend on what changes there${copyFirst}`,
    bytes,
    estimated: false,
  };
}

function adviseSplits(
  instructions: readonly InstructionHistory[],
  changesOf: (step: Instruction) => readonly LayerChange[],
): Advice[] {
  return instructions.flatMap((step): Advice[] => {
    const all = changesOf(step);
    const changes = all.filter(({ fate, changedFiles }) => fate === "changed" && changedFiles > 0);
    const unpacked = Math.max(0, ...changes.map(({ unchangedBytes }) => unchangedBytes));
    if (changes.length === 0 || unpacked < MIN_SPLIT_BYTES) return [];
    const kept = changes.reduce((total, change) => total + change.unchangedBytes, 0) / all.length;
    const files = Math.max(...changes.map(({ changedFiles }) => changedFiles));
    const bytes = Math.round(Math.min(kept, step.size));
    if (bytes < MIN_SPLIT_BYTES) return [];
    return [
      {
        kind: "split",
        layers: [step.layer],
        text:
          `split ${quote(step)}: at most ${files} of its files change per push; put what changes into ` +
          "an instruction of its own after the rest",
        bytes,
        estimated: true,
      },
    ];
  });
}

const REMEDIES: Readonly<Record<HiddenFiles["kind"], string>> = {
  repeated:
    "changes mode, owner or time of files it did not have to touch; set them where they are copied (COPY --chmod, --chown)",
  overwritten: "replaces files that were shipped below; do not add them there",
  deleted: "deletes files that were shipped below; delete them in the instruction that makes them",
};

function adviseHidden(hidden: readonly HiddenFiles[], instructions: readonly InstructionHistory[]): Advice[] {
  return hidden
    .filter(({ bytes }) => bytes >= MIN_HIDDEN_BYTES)
    .map(({ layer, byLayer, kind, files, bytes, example }) => {
      const [lower, upper] = [layer, byLayer].map((at) => instructions[at - 1] as Instruction) as [
        Instruction,
        Instruction,
      ];
      return {
        kind: "hidden",
        layers: [layer, byLayer],
        text: `${quote(upper)} ${REMEDIES[kind]} (${files} files of ${quote(lower)}, such as /${example})`,
        bytes,
        estimated: false,
      };
    });
}

/** How an instruction is named in a sentence. */
function quote({ layer, createdBy }: Instruction): string {
  const short = createdBy.length > 60 ? `${createdBy.slice(0, 59)}…` : createdBy;
  return `“${short}” (layer ${layer})`;
}
