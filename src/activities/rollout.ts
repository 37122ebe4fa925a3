// The activities of a rollout on one hub: acquire, give slots, widen, watch, complete or leave.
import type { Product } from "../core/config.ts";
import { gateOf } from "../core/config.ts";
import { LighterError } from "../core/errors.ts";
import { isFinal, type ReleaseRecord, type RolloutProgress, type StageProgress } from "../core/release/record.ts";
import type { ReleaseId } from "../core/release/intake.ts";
import { composeDeployment, composeModule, type Deployment } from "../core/rollout/deployment.ts";
import {
  acquire,
  complete,
  release,
  retiredDeployments,
  takeOver,
  withDeployment,
  withoutDeployments,
} from "../core/rollout/ledger.ts";
import { parseSlots, slotOf, type Slot } from "../core/rollout/slots.ts";
import { decideStage, enterStage, type StageState } from "../core/rollout/stage.ts";
import { composeTargetCondition } from "../core/rollout/target-condition.ts";
import type { ActivityPorts } from "./ports.ts";
import {
  configurationIdOf,
  createHubBook,
  imageOf,
  liveOf,
  rolloutOf,
  type Look,
  type RolloutStep,
} from "./hub-book.ts";
import type { ReleaseBook, ReleaseStep } from "./release-book.ts";

/** Between two pieces of slot assignment: long enough to be woken, short beside the minute that a piece may take. */
const ASSIGN_WAIT_MS = 1_000;
/** How often somebody waits for another release to leave a hub. */
const ACQUIRE_WAIT_MS = 60_000;

/** How acquiring a hub ended. */
export type Acquisition =
  | { readonly kind: "acquired" }
  | { readonly kind: "superseded" | "aborted"; readonly reason: string };

/** How far slot assignment has come. */
interface SlottingState {
  readonly assigned: number;
  readonly continuation?: string;
}

/** How slot assignment ended. */
export type Slotting =
  | { readonly kind: "assigned"; readonly assigned: number }
  | { readonly kind: "superseded" | "aborted"; readonly reason: string };

/** How a stage ended. */
export interface StageOutcome {
  readonly kind: "passed" | "failed" | "superseded" | "aborted";
  readonly reason: string;
}

/** The activities of a rollout. */
export interface RolloutActivities {
  acquireHub(step: RolloutStep): Promise<Look<null, Acquisition>>;
  assignSlots(step: RolloutStep & { readonly state?: SlottingState }): Promise<Look<SlottingState, Slotting>>;
  openRollout(step: RolloutStep): Promise<void>;
  watchStage(
    step: RolloutStep & { readonly ring: number; readonly state?: StageState },
  ): Promise<Look<StageState, StageOutcome>>;
  completeRollout(step: RolloutStep): Promise<void>;
  leaveRollout(
    step: RolloutStep & { readonly state: RolloutProgress["state"]; readonly reason: string },
  ): Promise<void>;
}

/** Creates the activities of a rollout. */
export function createRolloutActivities(ports: ActivityPorts, book: ReleaseBook): RolloutActivities {
  const { stores } = ports;
  const { changeLedger, takePriority, observe } = createHubBook(ports);

  /** Whether a release has ended, or never was: then nothing of it will leave the hub any more. */
  async function isOver(product: string, releaseId: ReleaseId): Promise<boolean> {
    const record = (await stores.releases.get(product, releaseId))?.value;
    return record === undefined || isFinal(record.state);
  }

  /** The slots of the first `count` rings. */
  function slotsOfRings(product: Product, count: number): Slot[] {
    const slots = product.rollout.rings.slice(0, count).flatMap((ring) => parseSlots(ring.slots));
    return [...new Set(slots)].sort();
  }

  function deploymentOf(record: ReleaseRecord, product: Product, hub: string, slots: readonly Slot[]): Deployment {
    const image = imageOf(record);
    return composeDeployment({
      id: configurationIdOf(record.id),
      priority: rolloutOf(record, hub).priority,
      targetCondition: composeTargetCondition(slots, product.rollout.targetCondition),
      product: product.name,
      releaseId: record.id,
      moduleName: product.module.name,
      module: composeModule(product.module, image),
    });
  }

  /** Why a release that has exposed nothing yet must not go on. */
  async function findStop(
    step: ReleaseStep,
  ): Promise<{ readonly kind: "superseded" | "aborted"; readonly reason: string } | undefined> {
    const standing = await book.standing(step);
    if (standing.kind === "current") return undefined;
    return { kind: standing.kind === "superseded" ? "superseded" : "aborted", reason: standing.reason };
  }

  return {
    async acquireHub({ hub, ...step }) {
      const stopped = await findStop(step);
      if (stopped !== undefined) return { kind: "done", outcome: stopped };
      const record = await book.read(step.releaseId);
      let { active } = await changeLedger(record.product, hub, (ledger) => acquire(ledger, step.releaseId));
      if (active !== undefined && active !== step.releaseId && (await isOver(record.product, active))) {
        const holder = active;
        ({ active } = await changeLedger(record.product, hub, (ledger) => takeOver(ledger, holder, step.releaseId)));
      }
      if (active === step.releaseId) return { kind: "done", outcome: { kind: "acquired" } };
      await book.update(step, { rollout: { hub, state: "waiting", waitsFor: `${active} to leave ${hub}` } });
      return { kind: "wait", state: null, waitMs: ACQUIRE_WAIT_MS };
    },

    async assignSlots({ hub, state = { assigned: 0 }, ...step }) {
      const stopped = await findStop(step);
      if (stopped !== undefined) return { kind: "done", outcome: stopped };
      const { assigned: given, continuation } = await ports.hub(hub).fleet.assignSlots(slotOf, state.continuation);
      const assigned = state.assigned + given;
      if (continuation === undefined) return { kind: "done", outcome: { kind: "assigned", assigned } };
      await book.update(step, {
        state: "rolling-out",
        rollout: { hub, state: "running", waitsFor: `slots (${assigned} devices were given one so far)` },
      });
      return { kind: "wait", state: { assigned, continuation }, waitMs: ASSIGN_WAIT_MS };
    },

    async openRollout({ hub, ...step }) {
      const record = await book.read(step.releaseId);
      const priority = record.rollouts[hub]?.priority || (await takePriority(hub));
      await book.update(step, {
        state: "rolling-out",
        finishStep: "prepare",
        startStep: "rollout",
        rollout: {
          hub,
          state: "running",
          priority,
          configurationId: configurationIdOf(record.id),
          waitsFor: "its first ring",
        },
      });
    },

    async watchStage({ hub, ring, state, ...step }) {
      const record = await book.read(step.releaseId);
      const product = book.product(record);
      const rules = product.rollout.rings[ring];
      if (rules === undefined) {
        throw new LighterError("RING_UNKNOWN", { operation: "watch stage", subject: `${product.name}#${ring}` });
      }
      const stage = (facts: Partial<StageProgress> & Pick<StageProgress, "state">): StageProgress => ({
        ring: rules.name,
        slots: rules.slots,
        enteredAt: step.now,
        ...facts,
      });
      const finish = async (
        outcome: StageOutcome,
        progress: Partial<StageProgress> & Pick<StageProgress, "state">,
      ): Promise<Look<StageState, StageOutcome>> => {
        await book.update(step, {
          rollout: { hub, stage: stage({ ...progress, finishedAt: step.now, reason: outcome.reason }) },
        });
        return { kind: "done", outcome };
      };

      const standing = await book.standing(step);
      if (standing.kind === "rollback")
        return finish({ kind: "failed", reason: standing.reason }, { state: "stopped" });
      if (standing.kind !== "current") {
        return finish({ kind: standing.kind, reason: standing.reason }, { state: "stopped" });
      }

      const slots = slotsOfRings(product, ring + 1);
      const deployment = deploymentOf(record, product, hub, slots);
      if (state === undefined) {
        // The ledger first: what may have been exposed must be known to a rollback even if the next call is cut off.
        await changeLedger(product.name, hub, (ledger) => withDeployment(ledger, liveOf(record, deployment, slots)));
        await ports.hub(hub).deployments.put(deployment);
        // Devices that have joined since the rollout began take part from here on.
        if (ring > 0) await ports.hub(hub).fleet.assignSlots(slotOf);
        const entered = enterStage(Date.parse(step.now));
        await book.update(step, {
          rollout: { hub, waitsFor: "the hub to evaluate the new target", stage: stage({ state: "settling" }) },
        });
        return { kind: "wait", state: entered, waitMs: product.rollout.pollSeconds * 1_000 };
      }

      const seen = await observe(hub, deployment.id, deployment.targetCondition, step.now);
      const { atMs: _atMs, ...counts } = seen;
      const decision = decideStage(seen, state, gateOf(product.rollout, ring), product.rollout.pollSeconds * 1_000);
      if (decision.kind === "pass") {
        return finish({ kind: "passed", reason: decision.reason }, { state: "passed", counts });
      }
      if (decision.kind === "fail") {
        return finish({ kind: "failed", reason: decision.reason }, { state: "failed", counts });
      }
      await book.update(step, {
        rollout: { hub, waitsFor: decision.waitsFor, stage: stage({ state: decision.state.phase, counts }) },
      });
      return { kind: "wait", state: decision.state, waitMs: decision.waitMs };
    },

    async completeRollout({ hub, ...step }) {
      const record = await book.read(step.releaseId);
      const product = book.product(record);
      const image = imageOf(record);
      const id = configurationIdOf(record.id);
      const module = composeModule(product.module, image);
      const completed = { id, module, image, whole: record.image?.mode === "full" };
      const ledger = await changeLedger(product.name, hub, (current) => complete(current, record.id, completed));
      const retired = retiredDeployments(ledger, id);
      for (const old of retired) await ports.hub(hub).deployments.remove(old);
      if (retired.length > 0) {
        await changeLedger(product.name, hub, (current) => withoutDeployments(current, retired));
      }
      await book.update(step, { finishStep: "rollout", rollout: { hub, state: "completed", waitsFor: "" } });
    },

    async leaveRollout({ hub, state, reason, ...step }) {
      const record = await book.read(step.releaseId);
      await changeLedger(record.product, hub, (current) => {
        const own = current.live.find((deployment) => deployment.id === configurationIdOf(record.id));
        const next = own?.state === "widening" ? withDeployment(current, { ...own, state: "superseded" }) : current;
        return release(next, record.id);
      });
      await book.update(step, { rollout: { hub, state, waitsFor: "" }, reason });
    },
  };
}
