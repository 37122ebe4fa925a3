// The ledger of a product on a hub: what is known to be good there, what is deployed, and who may deploy now.
import { LighterError } from "../errors.ts";
import type { ReleaseId } from "../release/intake.ts";
import type { ModuleContent } from "./deployment.ts";
import type { Slot } from "./slots.ts";

/** How many finished deployments below the newest are left in place, so that a device that lags finds its content. */
const KEPT_DEPLOYMENTS = 2;

/** The content to which a failed release returns: a module, or the knowledge that there was none before. */
export type Baseline =
  | { readonly kind: "module"; readonly module: ModuleContent; readonly from: string }
  | { readonly kind: "absent"; readonly from: string };

/** One of Lighter's deployments that exists on the hub. */
export interface LiveDeployment {
  readonly id: string;
  readonly releaseId: ReleaseId;
  readonly priority: number;
  readonly image: string;
  /** The slots that were exposed to it so far. */
  readonly slots: readonly Slot[];
  readonly state: "widening" | "complete" | "superseded" | "bad" | "rollback";
}

/** All that is remembered about one product on one hub; one row, changed only by compare-and-swap. */
export interface Ledger {
  readonly product: string;
  readonly hub: string;
  readonly baseline?: Baseline;
  /** The image that the fleet holds, by `tag@digest`: the next release's anchor. */
  readonly anchor?: string;
  /** The first image of the chain, onto which deltas are folded when layers run out. */
  readonly firstAnchor?: string;
  /** The release whose rollout is active; at most one. */
  readonly active?: ReleaseId;
  readonly live: readonly LiveDeployment[];
}

/** What a completed rollout leaves on the fleet; `whole` tells that the image was not rebased. */
export interface CompletedDeployment {
  readonly id: string;
  readonly module: ModuleContent;
  readonly image: string;
  readonly whole: boolean;
}

/** A rollout was refused or met a state that must not be. */
export class LedgerError extends LighterError<"NO_BASELINE" | "PRIORITIES_EXHAUSTED" | "ROLLOUT_ACTIVE"> {
  override readonly name = "LedgerError";
}

/** A ledger in which nothing is known. */
export function emptyLedger(product: string, hub: string): Ledger {
  return { product, hub, live: [] };
}

/**
 * Replaces or adds one deployment. It keeps the priority under which it was added, since the hub may have it already,
 * and every slot that it ever had, whatever has become of the rings: a rollback must reach them all.
 */
export function withDeployment(ledger: Ledger, deployment: LiveDeployment): Ledger {
  const known = ledger.live.find(({ id }) => id === deployment.id);
  const slots = [...new Set([...(known?.slots ?? []), ...deployment.slots])].sort();
  const kept = { ...deployment, priority: known?.priority ?? deployment.priority, slots };
  return { ...ledger, live: [...ledger.live.filter(({ id }) => id !== deployment.id), kept] };
}

/** Makes `releaseId` the active one, if none is; the result tells who is active. */
export function acquire(ledger: Ledger, releaseId: ReleaseId): Ledger {
  return ledger.active === undefined ? { ...ledger, active: releaseId } : ledger;
}

/**
 * Hands the ledger from a release that is over without having left it to another; what it was widening is in doubt from
 * then on. Nothing changes if `from` does not hold the ledger.
 */
export function takeOver(ledger: Ledger, from: ReleaseId, to: ReleaseId): Ledger {
  if (ledger.active !== from) return ledger;
  const live = ledger.live.map((deployment): LiveDeployment =>
    deployment.releaseId === from && deployment.state === "widening"
      ? { ...deployment, state: "superseded" }
      : deployment,
  );
  return { ...ledger, active: to, live };
}

/**
 * Writes down that the fleet holds what `releaseId` deployed as `id`, and frees the ledger. Nothing changes if it does
 * not hold the ledger (any more), so that a repetition cannot undo what came later.
 */
export function complete(
  ledger: Ledger,
  releaseId: ReleaseId,
  { id, module, image, whole }: CompletedDeployment,
): Ledger {
  if (ledger.active !== releaseId) return ledger;
  const own = ledger.live.find((deployment) => deployment.id === id);
  const next: Ledger = {
    ...ledger,
    baseline: { kind: "module", module, from: releaseId },
    anchor: image,
    firstAnchor: whole ? image : (ledger.firstAnchor ?? image),
  };
  return release(own === undefined ? next : withDeployment(next, { ...own, state: "complete" }), releaseId);
}

/** Frees the ledger if `releaseId` holds it. */
export function release(ledger: Ledger, releaseId: ReleaseId): Ledger {
  if (ledger.active !== releaseId) return ledger;
  const { active: _active, ...rest } = ledger;
  return rest;
}

/** Every slot that any deployment in doubt (this release's and superseded ones below it) has been exposed to. */
export function exposedSlots(ledger: Ledger, releaseId: ReleaseId): Slot[] {
  const doubtful = ledger.live.filter(
    (deployment) => deployment.releaseId === releaseId || deployment.state === "superseded",
  );
  return [...new Set(doubtful.flatMap(({ slots }) => slots))].sort();
}

/** Every slot that may run something other than what the fleet is known to hold: releases stopped half-way left it there. */
export function unsettledSlots({ live }: Ledger): Slot[] {
  const unsettled = live.filter(({ state }) => state === "widening" || state === "superseded");
  return [...new Set(unsettled.flatMap(({ slots }) => slots))].sort();
}

/** The deployments to delete once a rollback of `releaseId` is verified. */
export function doubtfulDeployments(ledger: Ledger, releaseId: ReleaseId): string[] {
  return ledger.live
    .filter(
      (deployment) =>
        deployment.state !== "rollback" && (deployment.releaseId === releaseId || deployment.state === "superseded"),
    )
    .map(({ id }) => id);
}

/** The deployments that a completed release makes superfluous: all whose devices it covers, but the newest few. */
export function retiredDeployments(ledger: Ledger, newest: string): string[] {
  const top = ledger.live.find(({ id }) => id === newest);
  if (top === undefined) return [];
  const covered = new Set(top.slots);
  const below = ledger.live
    .filter(({ priority, slots }) => priority < top.priority && slots.every((slot) => covered.has(slot)))
    .sort((a, b) => b.priority - a.priority);
  const finished = below.filter(({ state }) => state === "complete" || state === "rollback");
  const kept = new Set(finished.slice(0, KEPT_DEPLOYMENTS - 1).map(({ id }) => id));
  return below.filter(({ id }) => !kept.has(id)).map(({ id }) => id);
}

/** Removes deployments that no longer exist on the hub. */
export function withoutDeployments(ledger: Ledger, ids: readonly string[]): Ledger {
  return { ...ledger, live: ledger.live.filter(({ id }) => !ids.includes(id)) };
}
