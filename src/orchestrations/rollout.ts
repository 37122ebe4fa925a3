// The rollout of one release on one hub: ring after ring, and back again when a gate fails.
import type { OrchestrationContext } from "durable-functions";
import type { RestoreOutcome } from "../activities/rollback.ts";
import type { Acquisition, Slotting, StageOutcome } from "../activities/rollout.ts";
import type { ReleaseId } from "../core/release/intake.ts";
import { callActivity, messageOf, nowOf, type Steps } from "./call.ts";
import { watchInstance } from "./instance-ids.ts";
import { WATCH, type WatchInput } from "./watch.ts";

/** The name under which it is registered. */
export const ROLLOUT = "rollout";

/** One release on one hub. */
export interface RolloutInput {
  readonly releaseId: ReleaseId;
  readonly hub: string;
  readonly rings: readonly string[];
}

/** How a rollout ended. */
export interface RolloutResult {
  readonly hub: string;
  readonly state: "completed" | "superseded" | "aborted" | "rolled-back" | "failed";
  readonly reason: string;
}

/** Widens ring by ring, waits at every gate, and rolls back what fails. */
export function* rollout(context: OrchestrationContext): Steps<RolloutResult> {
  const input = context.df.getInput<RolloutInput>();
  if (input === undefined) throw new Error(`${ROLLOUT} ${context.df.instanceId}: got no input`);
  const { releaseId, hub, rings } = input;
  const step = (): { releaseId: ReleaseId; hub: string; now: string } => ({ releaseId, hub, now: nowOf(context) });

  function* watched<T>(activity: WatchInput["activity"], phase: string | number, more: object = {}): Steps<T> {
    const watch: WatchInput = { activity, arguments: { releaseId, hub, ...more } };
    return (yield context.df.callSubOrchestrator(WATCH, watch, watchInstance(releaseId, hub, phase))) as T;
  }

  /** Leaves the hub; the release must hear how the rollout ended even if the ledger cannot. */
  function* leave(state: RolloutResult["state"], reason: string): Steps<RolloutResult> {
    try {
      yield* callActivity(context, "leaveRollout", { ...step(), state, reason });
      return { hub, state, reason };
    } catch (error) {
      return { hub, state: "failed", reason: `${reason}; then leaving the hub failed: ${messageOf(error)}` };
    }
  }

  function* rollBack(reason: string, unexposed: "aborted" | "failed"): Steps<RolloutResult> {
    const { needed } = yield* callActivity(context, "startRollback", { ...step(), reason });
    if (!needed) return yield* leave(unexposed, reason);
    const restored = yield* watched<RestoreOutcome>("watchRollback", "rollback");
    return { hub, state: "rolled-back", reason: `${reason}; ${restored.reason}` };
  }

  /** Runs one phase; what fails for good in it becomes an outcome of its own. */
  function* attempt<T>(phase: Steps<T>): Steps<T | { readonly kind: "broken"; readonly reason: string }> {
    try {
      return yield* phase;
    } catch (error) {
      return { kind: "broken", reason: messageOf(error) };
    }
  }

  function* widen(): Steps<StageOutcome> {
    const slotted = yield* watched<Slotting>("assignSlots", "slots");
    if (slotted.kind !== "assigned") return slotted;
    yield* callActivity(context, "openRollout", step());
    for (const ring of rings.keys()) {
      const outcome = yield* watched<StageOutcome>("watchStage", ring, { ring });
      if (outcome.kind === "failed") return { ...outcome, reason: `${rings[ring]}: ${outcome.reason}` };
      if (outcome.kind !== "passed") return outcome;
    }
    return { kind: "passed", reason: `all ${rings.length} rings run it` };
  }

  const acquired = yield* attempt(watched<Acquisition>("acquireHub", "acquire"));
  if (acquired.kind === "broken") return yield* leave("failed", acquired.reason);
  if (acquired.kind !== "acquired") return yield* leave(acquired.kind, acquired.reason);

  const widened = yield* attempt(widen());
  if (widened.kind === "superseded" || widened.kind === "aborted") return yield* leave(widened.kind, widened.reason);
  if (widened.kind !== "passed") {
    // Neither the hub nor our own code may leave a fleet half updated: go back, and if that fails too, say so.
    const back = yield* attempt(rollBack(widened.reason, widened.kind === "broken" ? "failed" : "aborted"));
    return "kind" in back
      ? yield* leave("failed", `${widened.reason}; then the rollback failed: ${back.reason}`)
      : back;
  }

  try {
    yield* callActivity(context, "completeRollout", step());
    return { hub, state: "completed", reason: widened.reason };
  } catch (error) {
    // The fleet is good: going back would undo what every gate has passed.
    return yield* leave("failed", `${widened.reason}, but completing failed: ${messageOf(error)}`);
  }
}
