// The activities of a rollback: publish what ran before to every device that was exposed, and see that it runs.
import type { Product } from "../core/config.ts";
import { LighterError } from "../core/errors.ts";
import type { RollbackProgress } from "../core/release/record.ts";
import type { ReleaseId } from "../core/release/intake.ts";
import { composeDeployment, composeModule, type ModuleContent } from "../core/rollout/deployment.ts";
import {
  doubtfulDeployments,
  exposedSlots,
  release,
  withDeployment,
  withoutDeployments,
  LedgerError,
  type Baseline,
} from "../core/rollout/ledger.ts";
import { decideRestore, type RestoreState } from "../core/rollout/restore.ts";
import { formatSlots, parseSlots } from "../core/rollout/slots.ts";
import { composeTargetCondition } from "../core/rollout/target-condition.ts";
import { createHubBook, imageOf, liveOf, rolloutOf, type Look, type RolloutStep } from "./hub-book.ts";
import type { ActivityPorts } from "./ports.ts";
import type { ReleaseBook } from "./release-book.ts";

/** How many exposed devices' twins are read one by one to confirm a rollback. */
const VERIFIED_TWINS = 10;

/** How a rollback ended. */
export interface RestoreOutcome {
  readonly complete: boolean;
  readonly reason: string;
}

/** The activities of a rollback. */
export interface RollbackActivities {
  startRollback(step: RolloutStep & { readonly reason: string }): Promise<{ readonly needed: boolean }>;
  watchRollback(step: RolloutStep & { readonly state?: RestoreState }): Promise<Look<RestoreState, RestoreOutcome>>;
}

const rollbackIdOf = (releaseId: ReleaseId): string => `lighter-${releaseId}-rollback`;

/** The content a rollback publishes: the previous module, or, where there was none, the bad one stopped. */
function previousContent(baseline: Baseline, product: Product, image: string): ModuleContent {
  if (baseline.kind === "module") return baseline.module;
  return { ...composeModule(product.module, image), status: "stopped" };
}

/** Creates the activities of a rollback. */
export function createRollbackActivities(ports: ActivityPorts, book: ReleaseBook): RollbackActivities {
  const { changeLedger, readLedger, takePriority, observe } = createHubBook(ports);

  return {
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
      const complete = decision.complete && verifiedTwins === devices.length;
      const deadlineMs = entered.enteredAtMs + product.rollout.gate.timeoutMinutes * 60_000;
      if (decision.complete && !complete && seen.atMs < deadlineMs) {
        // Metrics may lag, twins do not: nothing is deleted before both say the same.
        const waitsFor = `${devices.length - verifiedTwins} of ${devices.length} twins to show the previous content`;
        await book.update(step, { rollout: { hub, rollback: { ...progress, verifiedTwins }, waitsFor } });
        return { kind: "wait", state: entered, waitMs: pollMs };
      }
      const bad = doubtfulDeployments(ledger, record.id);
      for (const id of bad) await deployments.remove(id);
      await changeLedger(product.name, hub, (current) => release(withoutDeployments(current, bad), record.id));
      await book.update(step, {
        finishStep: "rollback",
        rollout: {
          hub,
          state: "rolled-back",
          waitsFor: "",
          rollback: { ...progress, verifiedTwins, state: complete ? "complete" : "incomplete" },
        },
      });
      return { kind: "done", outcome: { complete, reason: decision.reason } };
    },
  };
}
