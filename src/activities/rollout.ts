// The activities of a rollout on one hub: acquire, widen, watch, roll back, complete.
import type { Hub, Product } from "../core/config.ts";
import { gateOf } from "../core/config.ts";
import { LighterError } from "../core/errors.ts";
import {
  isFinal,
  type ReleaseRecord,
  type RollbackProgress,
  type RolloutProgress,
  type StageProgress,
} from "../core/release/record.ts";
import type { ReleaseId } from "../core/release/intake.ts";
import { composeDeployment, composeModule, type Deployment, type ModuleContent } from "../core/rollout/deployment.ts";
import {
  acquire,
  complete,
  doubtfulDeployments,
  emptyLedger,
  exposedSlots,
  LedgerError,
  release,
  retiredDeployments,
  takeOver,
  withDeployment,
  withoutDeployments,
  type Baseline,
  type Ledger,
  type LiveDeployment,
} from "../core/rollout/ledger.ts";
import { decideRestore, type RestoreState } from "../core/rollout/restore.ts";
import { formatSlots, parseSlots, slotOf, type Slot } from "../core/rollout/slots.ts";
import { decideStage, enterStage, type Observation, type StageState } from "../core/rollout/stage.ts";
import { composeTargetCondition } from "../core/rollout/target-condition.ts";
import { updateDocument } from "./documents.ts";
import type { ActivityPorts } from "./ports.ts";
import type { ReleaseBook, ReleaseStep } from "./preparation.ts";

/** Between two pieces of slot assignment: long enough to be woken, short beside the minute that a piece may take. */
const ASSIGN_WAIT_MS = 1_000;
/** How often somebody waits for another release to leave a hub. */
const ACQUIRE_WAIT_MS = 60_000;
/** How many exposed devices' twins are read one by one to confirm a rollback. */
const VERIFIED_TWINS = 10;

/** One release on one hub, at the orchestrator's present. */
export interface RolloutStep extends ReleaseStep {
  readonly hub: string;
}

/** One look of a watch: go on waiting with this state, or the outcome. */
export type Look<State, Outcome> =
  | { readonly kind: "wait"; readonly state: State; readonly waitMs: number }
  | { readonly kind: "done"; readonly outcome: Outcome };

/** How acquiring a hub ended. */
export type Acquisition =
  | { readonly kind: "acquired" }
  | { readonly kind: "superseded" | "aborted"; readonly reason: string };

/** How far slot assignment has come. */
interface SlottingState {
  readonly assigned: number;
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

/** How a rollback ended. */
export interface RestoreOutcome {
  readonly complete: boolean;
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
  startRollback(step: RolloutStep & { readonly reason: string }): Promise<{ readonly needed: boolean }>;
  watchRollback(step: RolloutStep & { readonly state?: RestoreState }): Promise<Look<RestoreState, RestoreOutcome>>;
  completeRollout(step: RolloutStep): Promise<void>;
  leaveRollout(
    step: RolloutStep & { readonly state: RolloutProgress["state"]; readonly reason: string },
  ): Promise<void>;
}

const configurationIdOf = (releaseId: ReleaseId): string => `lighter-${releaseId}`;
const rollbackIdOf = (releaseId: ReleaseId): string => `lighter-${releaseId}-rollback`;

/** Creates the activities of a rollout. */
export function createRolloutActivities(ports: ActivityPorts, book: ReleaseBook): RolloutActivities {
  const { config, stores } = ports;

  const changeLedger = (product: string, hub: string, change: (ledger: Ledger) => Ledger): Promise<Ledger> =>
    updateDocument(stores.ledgers, product, hub, (ledger) => change(ledger ?? emptyLedger(product, hub)));

  const readLedger = async (product: string, hub: string): Promise<Ledger> =>
    (await stores.ledgers.get(product, hub))?.value ?? emptyLedger(product, hub);

  function hubRules(name: string): Hub {
    const rules = config.hubs.find((hub) => hub.name === name);
    if (rules !== undefined) return rules;
    throw new LighterError("HUB_UNKNOWN", { operation: "find hub", subject: name, got: "no such hub configured" });
  }

  /** Whether a release has ended, or never was: then nothing of it will leave the hub any more. */
  async function isOver(product: string, releaseId: ReleaseId): Promise<boolean> {
    const record = (await stores.releases.get(product, releaseId))?.value;
    return record === undefined || isFinal(record.state);
  }

  /** The next priority of the hub's reserved band: above all that were given away and all that exist there. */
  async function takePriority(hub: string): Promise<number> {
    const { from, to } = hubRules(hub).priorities;
    const existing = (await ports.hub(hub).deployments.list()).map(({ priority }) => priority);
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

  /** The content a rollback publishes: the previous module, or, where there was none, the bad one stopped. */
  function previousContent(baseline: Baseline, product: Product, image: string): ModuleContent {
    if (baseline.kind === "module") return baseline.module;
    return { ...composeModule(product.module, image), status: "stopped" };
  }

  async function observe(hub: string, id: string, condition: string, now: string): Promise<Observation> {
    const { deployments, fleet } = ports.hub(hub);
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
      const given = await ports.hub(hub).fleet.assignSlots(slotOf);
      const assigned = state.assigned + given.assigned;
      if (given.complete) return { kind: "done", outcome: { kind: "assigned", assigned } };
      await book.update(step, {
        state: "rolling-out",
        rollout: { hub, state: "running", waitsFor: `slots (${assigned} devices were given one so far)` },
      });
      return { kind: "wait", state: { assigned }, waitMs: ASSIGN_WAIT_MS };
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
        await ports.hub(hub).fleet.assignSlots(slotOf);
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

    async startRollback({ hub, reason, ...step }) {
      const record = await book.read(step.releaseId);
      const product = book.product(record);
      const ledger = await readLedger(product.name, hub);
      const slots = exposedSlots(ledger, record.id);
      const { baseline } = ledger;
      if (slots.length === 0) return { needed: false };
      if (baseline === undefined) {
        throw new LedgerError("NO_BASELINE", { operation: "roll back", subject: `${record.id} on ${hub}` });
      }
      const id = rollbackIdOf(record.id);
      const earlier = ledger.live.find((deployment) => deployment.id === id);
      const module = previousContent(baseline, product, imageOf(record));
      const facts = {
        id,
        priority: earlier?.priority ?? (await takePriority(hub)),
        targetCondition: composeTargetCondition(slots, product.rollout.targetCondition),
        product: product.name,
        releaseId: record.id,
        moduleName: product.module.name,
        module,
      };
      const { live } = await changeLedger(product.name, hub, (current) =>
        withDeployment(current, { ...liveOf(record, facts, slots), state: "rollback" }),
      );
      const { priority } = live.find((deployment) => deployment.id === id) ?? facts;
      await ports.hub(hub).deployments.put(composeDeployment({ ...facts, priority }));
      const to = baseline.kind === "module" ? (baseline.module.settings["image"] ?? "") : "no module (stopped)";
      const rollback: RollbackProgress = {
        configurationId: id,
        reason,
        to,
        slots: formatSlots(slots),
        state: "running",
      };
      await book.update(step, {
        state: "rolling-back",
        finishStep: "rollout",
        startStep: "rollback",
        rollout: { hub, rollback, waitsFor: "the hub to evaluate the rollback" },
      });
      return { needed: true };
    },

    async watchRollback({ hub, state, ...step }) {
      const record = await book.read(step.releaseId);
      const product = book.product(record);
      const rollback = rolloutOf(record, hub).rollback;
      if (rollback === undefined) {
        throw new LighterError("ROLLBACK_UNKNOWN", { operation: "watch rollback", subject: `${record.id} on ${hub}` });
      }
      const pollMs = product.rollout.pollSeconds * 1_000;
      const entered: RestoreState = state ?? { enteredAtMs: Date.parse(step.now), agreement: { evaluations: 0 } };
      if (state === undefined) return { kind: "wait", state: entered, waitMs: pollMs };

      const condition = composeTargetCondition(parseSlots(rollback.slots), product.rollout.targetCondition);
      const seen = await observe(hub, rollback.configurationId, condition, step.now);
      const decision = decideRestore(seen, entered, product.rollout.gate.timeoutMinutes, pollMs);
      const progress: RollbackProgress = { ...rollback, expected: seen.expected, restored: seen.running };
      if (decision.kind === "wait") {
        await book.update(step, { rollout: { hub, rollback: progress, waitsFor: decision.waitsFor } });
        return { kind: "wait", state: decision.state, waitMs: decision.waitMs };
      }

      const { fleet, deployments } = ports.hub(hub);
      const devices = await fleet.findDevices(condition, VERIFIED_TWINS);
      const twins = await Promise.all(devices.map((device) => fleet.readModule(device, product.module.name)));
      const ledger = await readLedger(product.name, hub);
      const previous = ledger.baseline?.kind === "module" ? ledger.baseline.module.settings["image"] : undefined;
      const verifiedTwins = twins.filter((module) =>
        previous === undefined ? module?.runtimeStatus !== "running" : module?.image === previous,
      ).length;
      const bad = doubtfulDeployments(ledger, record.id);
      for (const id of bad) await deployments.remove(id);
      await changeLedger(product.name, hub, (current) => release(withoutDeployments(current, bad), record.id));
      await book.update(step, {
        finishStep: "rollback",
        rollout: {
          hub,
          state: "rolled-back",
          waitsFor: "",
          rollback: { ...progress, verifiedTwins, state: decision.complete ? "complete" : "incomplete" },
        },
      });
      return { kind: "done", outcome: { complete: decision.complete, reason: decision.reason } };
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

function imageOf(record: ReleaseRecord): string {
  if (record.image !== undefined) return record.image.reference;
  throw new LighterError("IMAGE_MISSING", { operation: "roll out", subject: record.id, got: "no prepared image" });
}

function rolloutOf(record: ReleaseRecord, hub: string): RolloutProgress {
  const rollout = record.rollouts[hub];
  if (rollout !== undefined) return rollout;
  throw new LighterError("ROLLOUT_UNKNOWN", { operation: "read rollout", subject: `${record.id} on ${hub}` });
}

function liveOf(
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
