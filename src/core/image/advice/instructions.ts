// Matches an image's history with its layers: which instruction made which layer.
import type { Descriptor } from "../descriptor.ts";
import { classifyPath, type DriftClass } from "../drift.ts";
import type { LayerIndex } from "../layer-entry.ts";

/** An image whose layers are all indexed, bottom first; `history` as its config has it. */
export interface IndexedImage {
  readonly layers: readonly { readonly descriptor: Descriptor; readonly index: LayerIndex }[];
  readonly history: readonly Readonly<Record<string, unknown>>[];
}

/** An instruction that made a layer. */
export interface Instruction {
  /** Position of the layer, from 1 at the bottom. */
  readonly layer: number;
  /** The instruction as the builder wrote it down, or `unknown`. */
  readonly createdBy: string;
  readonly digest: string;
  /** Bytes of the layer as devices download it. */
  readonly size: number;
  /** What most of its bytes are, by the rules of drift. */
  readonly class: DriftClass;
}

/**
 * Lists the instructions that made layers; steps with `empty_layer` made none. Where history and layers do not match,
 * nobody can say which made which.
 */
export function listInstructions({ layers, history }: IndexedImage): readonly Instruction[] {
  const steps = history.filter((step) => step["empty_layer"] !== true);
  return layers.map(({ descriptor: { digest, size }, index }, at) => ({
    layer: at + 1,
    createdBy: steps.length === layers.length ? cleanStep(steps[at]?.["created_by"]) : "unknown",
    digest,
    size,
    class: classOfLayer(index),
  }));
}

/** What BuildKit adds to every instruction. */
const BUILDKIT = "# buildkit";

/** What builders put around an instruction says nothing of it. */
function cleanStep(text: unknown): string {
  if (typeof text !== "string") return "unknown";
  const clean = text
    .replace(/^\/bin\/sh -c #\(nop\)\s*/, "")
    .replace(/^\/bin\/sh -c /, "RUN ")
    .trim();
  return (clean.endsWith(BUILDKIT) ? clean.slice(0, -BUILDKIT.length).trim() : clean) || "unknown";
}

function classOfLayer({ entries }: LayerIndex): DriftClass {
  const bytes = new Map<DriftClass, number>();
  for (const entry of entries) {
    if (entry.kind !== "entry" || entry.type !== "file") continue;
    const found = classifyPath(entry.path);
    bytes.set(found, (bytes.get(found) ?? 0) + entry.size);
  }
  const [first] = [...bytes].sort(([, left], [, right]) => right - left);
  return first?.[0] ?? "none";
}
