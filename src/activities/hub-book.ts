// What the activities of a rollout and of a rollback share: one product on one hub, its ledger, and what the hub shows.
import type { Hub } from "../core/config.ts";
import { LighterError } from "../core/errors.ts";
import type { ReleaseId } from "../core/release/intake.ts";
import type { ReleaseRecord, RolloutProgress } from "../core/release/record.ts";
import type { Deployment } from "../core/rollout/deployment.ts";
import { emptyLedger, LedgerError, type Ledger, type LiveDeployment } from "../core/rollout/ledger.ts";
import type { Slot } from "../core/rollout/slots.ts";
import type { Observation } from "../core/rollout/stage.ts";
import { updateDocument } from "./documents.ts";
import type { ActivityPorts } from "./ports.ts";
import type { ReleaseStep } from "./release-book.ts";

/** One release on one hub, at the orchestrator's present. */
export interface RolloutStep extends ReleaseStep {
  readonly hub: string;
}

/** One look of a watch: go on waiting with this state, or the outcome. */
export type Look<State, Outcome> =
  | { readonly kind: "wait"; readonly state: State; readonly waitMs: number }
  | { readonly kind: "done"; readonly outcome: Outcome };

/** A product's ledgers and deployments, hub by hub. */
export interface HubBook {
  changeLedger(product: string, hub: string, change: (ledger: Ledger) => Ledger): Promise<Ledger>;
  readLedger(product: string, hub: string): Promise<Ledger>;
  /** The next priority of the hub's reserved band: above all that were given away and all that exist there. */
  takePriority(hub: string): Promise<number>;
  /** What the hub shows of a deployment now. @throws LighterError DEPLOYMENT_GONE */
  observe(hub: string, id: string, condition: string, now: string): Promise<Observation>;
}

/** Creates the book. */
export function createHubBook({ config, stores, hub: openHub }: ActivityPorts): HubBook {
  function hubRules(name: string): Hub {
    const rules = config.hubs.find((hub) => hub.name === name);
    if (rules !== undefined) return rules;
    throw new LighterError("HUB_UNKNOWN", { operation: "find hub", subject: name, got: "no such hub configured" });
  }

  return {
    changeLedger: (product, hub, change) =>
      updateDocument(stores.ledgers, product, hub, (ledger) => change(ledger ?? emptyLedger(product, hub))),

    async readLedger(product, hub) {
      return (await stores.ledgers.get(product, hub))?.value ?? emptyLedger(product, hub);
    },

    async takePriority(hub) {
      const { from, to } = hubRules(hub).priorities;
      const existing = (await openHub(hub).deployments.list()).map(({ priority }) => priority);
      const highest = Math.max(from - 1, ...existing.filter((priority) => priority <= to));
      const { last } = await updateDocument(stores.priorities, "all", hub, (counter) => ({
        last: Math.max(highest, counter?.last ?? 0) + 1,
      }));
      if (last <= to) return last;
      throw new LedgerError("PRIORITIES_EXHAUSTED", {
        operation: "take priority",
        subject: hub,
        got: String(last),
        want: `at most ${to}; widen the band in the configuration`,
      });
    },

    async observe(hub, id, condition, now) {
      const { deployments, fleet } = openHub(hub);
      const [deployment, expected] = await Promise.all([deployments.get(id), fleet.countDevices(condition)]);
      if (deployment === undefined) {
        throw new LighterError("DEPLOYMENT_GONE", {
          operation: "observe deployment",
          subject: `${hub}/${id}`,
          got: "no such configuration",
          want: "the one that was created; somebody deleted it",
        });
      }
      const { targeted, applied, metrics } = deployment.counts;
      return {
        atMs: Date.parse(now),
        expected,
        targeted,
        applied,
        running: metrics["running"] ?? 0,
        failed: metrics["failed"] ?? 0,
      };
    },
  };
}

/** The deployment of a release. */
export const configurationIdOf = (releaseId: ReleaseId): string => `lighter-${releaseId}`;

/** The image that a release deploys. @throws LighterError IMAGE_MISSING */
export function imageOf(record: ReleaseRecord): string {
  if (record.image !== undefined) return record.image.reference;
  throw new LighterError("IMAGE_MISSING", { operation: "roll out", subject: record.id, got: "no prepared image" });
}

/** A release on one hub. @throws LighterError ROLLOUT_UNKNOWN */
export function rolloutOf(record: ReleaseRecord, hub: string): RolloutProgress {
  const rollout = record.rollouts[hub];
  if (rollout !== undefined) return rollout;
  throw new LighterError("ROLLOUT_UNKNOWN", { operation: "read rollout", subject: `${record.id} on ${hub}` });
}

/** The ledger's entry of a deployment that is about to exist. */
export function liveOf(
  record: ReleaseRecord,
  deployment: Pick<Deployment, "id" | "priority">,
  slots: readonly Slot[],
): LiveDeployment {
  return {
    id: deployment.id,
    releaseId: record.id,
    priority: deployment.priority,
    image: imageOf(record),
    slots,
    state: "widening",
  };
}
