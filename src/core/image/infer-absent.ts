// Infers which of the anchor's paths the shared layers cannot have had, so that those need not be read to know it.
import type { OverlayNode, Overlay } from "./overlay.ts";

/** A path of the anchor that is taken to be its own, because `successor` stands beside it in the candidate. */
export interface Succession {
  readonly path: string;
  readonly successor: string;
}

/**
 * Finds names that one image's own layers introduce in place of the other's: `…/forecast/1` and `…/forecast/2`.
 *
 * A path that the anchor's own layers have and the candidate's do not mention may be new, and must go, or may hide one
 * of the shared layers, and must then be restored. It is inferred to be new if the candidate's own layers add a sibling
 * whose name differs in digits alone and which has the same names and types beneath it, digits aside: a versioned
 * folder or file that each build writes under its own number. This is an inference, not a proof: a shared layer that
 * already holds the anchor's number defeats it.
 */
export function inferAbsent(anchor: Overlay, candidate: Overlay): readonly Succession[] {
  const found: Succession[] = [];
  const visit = (path: string, a: OverlayNode, c: OverlayNode): void => {
    if (a.masks !== c.masks) return;
    let fresh: Map<string, readonly [name: string, node: OverlayNode][]> | undefined;
    for (const [name, child] of a.children ?? []) {
      const other = c.children?.get(name);
      const childPath = path === "" ? name : `${path}/${name}`;
      if (other !== undefined) visit(childPath, child, other);
      else if (child.entry !== undefined && /\d/.test(name)) {
        fresh ??= groupFresh(a, c);
        const shape = shapeOf(child);
        const successor = fresh.get(withoutDigits(name))?.find(([, node]) => shapeOf(node) === shape)?.[0];
        if (successor !== undefined)
          found.push({ path: childPath, successor: path === "" ? successor : `${path}/${successor}` });
      }
    }
  };
  visit("", anchor.root, candidate.root);
  return found;
}

/** The candidate's children that the anchor lacks, by name without digits. */
function groupFresh(a: OverlayNode, c: OverlayNode): Map<string, [string, OverlayNode][]> {
  const fresh = [...(c.children ?? [])].filter(([name, { entry }]) => entry !== undefined && !a.children?.has(name));
  return Map.groupBy(fresh, ([name]) => withoutDigits(name));
}

function withoutDigits(name: string): string {
  return name.replaceAll(/\d+/g, "#");
}

/** Types and names of a subtree, digits aside; a marker or an implied directory in it gives it a shape of its own. */
function shapeOf(node: OverlayNode): string {
  const children = [...(node.children ?? [])].map(([name, child]) => `${withoutDigits(name)}/${shapeOf(child)}`);
  const type = node.entry?.type ?? (node.removed ? "removed" : "implied");
  return `${type}${node.masks ? "!" : ""}(${children.sort().join()})`;
}
