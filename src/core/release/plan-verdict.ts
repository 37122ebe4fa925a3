// Decides what becomes of a plan: go on, wait for approval, refuse it, or ship the whole image because a delta would not pay.
import type { Product } from "../config.ts";
import type { DriftClass } from "../image/drift.ts";

/** What happens to a candidate that brings drift of a class. */
type DriftAction = "release" | "hold" | "reject";

/** The actions by class of drift; a class that is not named is released. */
export type DriftPolicy = { readonly [Class in DriftClass]?: DriftAction | undefined };

/** The parts of a plan that the verdict depends on. */
export interface JudgedPlan {
  readonly outcome: "rebase" | "nothing" | "full";
  readonly drift: { readonly class: DriftClass; readonly packages: readonly { readonly name: string }[] };
  readonly bytes: { readonly full: number; readonly delta: number };
}

/** What stands in a plan's way, if anything. */
export interface PlanVerdict {
  /** Whether somebody has to approve it first, or nobody may. */
  readonly gate?: { readonly kind: "hold" | "reject"; readonly reason: string };
  /** Why the whole image is shipped instead of a delta. */
  readonly whole?: string;
}

/** Names the first few packages, so that whoever approves knows what of. */
function describePackages(packages: JudgedPlan["drift"]["packages"]): string {
  if (packages.length === 0) return "";
  const named = packages.slice(0, 3).map(({ name }) => name);
  const more = packages.length - named.length;
  return ` (${named.join(", ")}${more > 0 ? ` and ${more} more` : ""})`;
}

/** Judges a plan by a product's rules. A candidate that changes nothing needs neither approval nor a delta. */
export function judgePlan(product: Pick<Product, "onDrift" | "wholeAbovePercent">, plan: JudgedPlan): PlanVerdict {
  const { outcome, drift, bytes } = plan;
  if (outcome === "nothing") return {};
  const action = product.onDrift[drift.class] ?? "release";
  const reason = `drift of class ${drift.class}${describePackages(drift.packages)}`;
  const gate = action === "release" ? {} : { gate: { kind: action, reason } };
  const share = bytes.full === 0 ? 100 : (bytes.delta * 100) / bytes.full;
  if (outcome !== "rebase" || share <= product.wholeAbovePercent) return gate;
  const whole = `a delta would be ${bytes.delta} of ${bytes.full} bytes, more than ${product.wholeAbovePercent} %`;
  return { ...gate, whole };
}
