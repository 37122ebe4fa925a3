// Random layers for properties: small worlds of few names, in which paths collide often.
import * as fc from "fast-check";
import { applyModelLayer, type ModelEntry, type ModelInode, type ModelTree } from "./model-tree.ts";

/** One thing a layer may do; numbers are taken modulo what there is. */
interface Step {
  readonly action:
    | "file"
    | "directory"
    | "symlink"
    | "special"
    | "link"
    | "whiteout"
    | "opaque"
    | "remove"
    | "touch"
    | "rewrite";
  readonly names: readonly string[];
  readonly variant: number;
  readonly withParents: boolean;
}

const LONG = "l".repeat(130);
const NAMES: readonly string[] = ["a", "b", "c", "ü", "x y", "1", "2", ".who", LONG];

const names = fc.array(fc.constantFrom(...NAMES), { minLength: 1, maxLength: 3 });

const step: fc.Arbitrary<Step> = fc.record({
  action: fc.oneof(
    { weight: 6, arbitrary: fc.constant<Step["action"]>("file") },
    { weight: 3, arbitrary: fc.constant<Step["action"]>("directory") },
    { weight: 3, arbitrary: fc.constant<Step["action"]>("rewrite") },
    { weight: 3, arbitrary: fc.constant<Step["action"]>("link") },
    {
      weight: 6,
      arbitrary: fc.constantFrom<Step["action"][]>("symlink", "special", "whiteout", "opaque", "remove", "touch"),
    },
  ),
  names,
  variant: fc.nat({ max: 1_000 }),
  withParents: fc.boolean(),
});

const layer = fc.array(step, { maxLength: 8 });

/** The recipe of two images: layers they share, then each one's own. */
export const recipe: fc.Arbitrary<{ shared: Step[][]; anchor: Step[][]; candidate: Step[][] }> = fc.record({
  shared: fc.array(layer, { maxLength: 2 }),
  anchor: fc.array(layer, { maxLength: 3 }),
  candidate: fc.array(layer, { maxLength: 3 }),
});

/** Turns steps into layers that make sense one on the other: hard links have targets. */
export function buildLayers(
  below: ModelTree,
  layers: readonly (readonly Step[])[],
): { readonly layers: ModelEntry[][]; readonly tree: ModelTree } {
  let tree = below;
  const built = layers.map((steps) => {
    const entries = buildLayer(tree, steps);
    tree = applyModelLayer(tree, entries);
    return entries;
  });
  return { layers: built, tree };
}

function buildLayer(below: ModelTree, steps: readonly Step[]): ModelEntry[] {
  const markers: ModelEntry[] = [];
  for (const { action, names, variant } of steps) {
    if (action === "whiteout") markers.push({ kind: "whiteout", path: names.join("/") });
    if (action === "opaque")
      markers.push({ kind: "opaque", path: pick(directoriesOf(below), variant) ?? names.join("/") });
    const victim = pick([...below.keys()], variant);
    if (action === "remove" && victim !== undefined) markers.push({ kind: "whiteout", path: victim });
  }
  const entries: ModelEntry[] = [];
  const now = (): ModelTree => applyModelLayer(below, [...markers, ...entries]);
  for (const { action, names, variant, withParents } of steps) {
    const tree = now();
    if (action === "rewrite" || action === "touch") {
      const path = pick([...tree.keys()], variant);
      const inode = path === undefined ? undefined : tree.get(path);
      if (path === undefined || inode === undefined) continue;
      const change = action === "touch" ? { mtime: inode.mtime + 1 + (variant % 5) } : { mode: 0o700 + (variant % 8) };
      entries.push({ kind: "inode", path, inode: { ...inode, ...change } });
      continue;
    }
    const path = names.join("/");
    if (withParents) entries.push(...parentsOf(path, variant));
    if (action === "link") {
      const target = pick(filesOf(now()), variant);
      const isSafe =
        target !== undefined && target !== path && !target.startsWith(`${path}/`) && !path.startsWith(`${target}/`);
      if (isSafe && parentsLeave(path, target)) entries.push({ kind: "link", path, target });
    } else if (action === "file" || action === "directory" || action === "symlink" || action === "special")
      entries.push({ kind: "inode", path, inode: inodeOf(action, variant) });
  }
  return interleave(markers, entries);
}

/** Markers may stand anywhere in a layer. */
function interleave(markers: readonly ModelEntry[], entries: readonly ModelEntry[]): ModelEntry[] {
  return markers.length % 2 === 0 ? [...markers, ...entries] : [...entries, ...markers];
}

function parentsLeave(path: string, target: string): boolean {
  return !path.split("/").some((_, at, all) => all.slice(0, at).join("/") === target);
}

function parentsOf(path: string, variant: number): ModelEntry[] {
  const parts = path.split("/").slice(0, -1);
  return parts.map((_, at) => ({
    kind: "inode",
    path: parts.slice(0, at + 1).join("/"),
    inode: inodeOf("directory", variant % 2),
  }));
}

function inodeOf(action: "file" | "directory" | "symlink" | "special", variant: number): ModelInode {
  const type =
    action === "special" ? ((["fifo", "character-device", "block-device"] as const)[variant % 3] ?? "fifo") : action;
  const contents = { file: `content ${variant % 3}`, symlink: `../t${variant % 2}`, directory: "", fifo: "" };
  return {
    type,
    mode: [0o644, 0o755, 0o4711][variant % 3] ?? 0o644,
    uid: variant % 2 === 0 ? 0 : 3_000_000,
    gid: variant % 5 === 0 ? 12 : 0,
    content: type in contents ? contents[type as keyof typeof contents] : `${variant % 2},3`,
    xattrs: variant % 7 === 0 ? { "user.k": `v${variant % 2}` } : {},
    mtime: 1_700_000_000 + variant,
  };
}

const directoriesOf = (tree: ModelTree): string[] =>
  [...tree].filter(([, { type }]) => type === "directory").map(([path]) => path);
const filesOf = (tree: ModelTree): string[] =>
  [...tree].filter(([, { type }]) => type !== "directory").map(([path]) => path);

function pick<Item>(items: readonly Item[], variant: number): Item | undefined {
  return items.length === 0 ? undefined : items[variant % items.length];
}
