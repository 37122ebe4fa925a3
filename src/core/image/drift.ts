// Drift: what kind of change a candidate brings, told from paths and config fields.
import type { PackageChange } from "./packages/package-changes.ts";

/** The kinds of drift, from the least to the most far-reaching; an image's class is the greatest found. */
export const DRIFT_CLASSES = ["none", "model", "code", "dependencies", "system", "config"] as const;

/** A kind of drift. */
export type DriftClass = (typeof DRIFT_CLASSES)[number];

/** What changed, by class, and which packages; of very many the first, and how many more there are. */
export interface Drift {
  readonly class: DriftClass;
  readonly packages: readonly PackageChange[];
  readonly morePackages?: number;
}

/** One rule: a path (byte string) that matches belongs to the class. */
export interface DriftRule {
  readonly class: Exclude<DriftClass, "none" | "config">;
  readonly path: RegExp;
}

/** The rules in order; the first that matches a path decides, and a path that none matches is code. */
const DEFAULT_DRIFT_RULES: readonly DriftRule[] = [
  {
    class: "dependencies",
    path: /(?:^|\/)(?:site-packages|dist-packages|node_modules|conda-meta|azureml-envs|\.venv|venv|__pypackages__)(?:\/|$)/,
  },
  {
    class: "dependencies",
    path: /(?:^|\/)(?:opt|root|home\/[^/]+)\/(?:mini|ana|mambaforge|micromamba|conda)[^/]*(?:\/|$)/,
  },
  { class: "model", path: /(?:^|\/)(?:azureml-models|models?|checkpoints?|weights)(?:\/|$)/ },
  {
    class: "model",
    path: /\.(?:pkl|pickle|joblib|onnx|pt|pth|ckpt|h5|hdf5|keras|tflite|pb|safetensors|gguf|ggml|mlmodel|ubj|cbm|npz|npy|engine|bin\.model)$/i,
  },
  { class: "system", path: /^(?:usr\/local\/lib|usr\/lib|lib|lib64|bin|sbin|usr|etc|boot|run|dev|proc|sys)(?:\/|$)/ },
  { class: "system", path: /^var\/(?:lib|cache|log|spool|mail|local|backups)(?:\/|$)/ },
];

/** A plan names at most this many packages, so that it fits into records and histories. */
const MAX_PACKAGES = 200;

/** Fields of an image's config that change how its container runs; labels do not. */
const RUNTIME_FIELD = /^(?!Labels(?:\.|$))/;

/** What drift is judged by: changed paths (byte strings), names as `listConfigChanges` gives them, and packages. */
export interface DriftFacts {
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
  readonly config: readonly string[];
  readonly packages: readonly PackageChange[];
}

/** Judges a change. */
export function judgeDrift(facts: DriftFacts, rules: readonly DriftRule[] = DEFAULT_DRIFT_RULES): Drift {
  const found = new Set<DriftClass>(["none"]);
  for (const path of [...facts.added, ...facts.changed, ...facts.removed]) found.add(classifyPath(path, rules));
  const more = facts.packages.length - MAX_PACKAGES;
  if (facts.config.some((field) => RUNTIME_FIELD.test(field))) found.add("config");
  return {
    class: DRIFT_CLASSES.findLast((name) => found.has(name)) ?? "none",
    packages: facts.packages.slice(0, MAX_PACKAGES),
    ...(more > 0 ? { morePackages: more } : {}),
  };
}

/** The class of a path (a byte string). */
export function classifyPath(path: string, rules: readonly DriftRule[] = DEFAULT_DRIFT_RULES): DriftClass {
  return rules.find((rule) => rule.path.test(path))?.class ?? "code";
}
