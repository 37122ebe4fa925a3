// A release from candidate to fleet: compare, rebase, verify, and roll out on every hub.
import type { OrchestrationContext } from "durable-functions";
import type { Answer, Preparation, RunOutcome } from "../activities/preparation.ts";
import type { ReleaseId } from "../core/release/intake.ts";
import type { ReleaseState } from "../core/release/record.ts";
import { callActivity, messageOf, nowOf, scheduleActivity, unwrap, type Steps } from "./call.ts";
import { holdInstance, rolloutInstance, runInstance } from "./instance-ids.ts";
import { ROLLOUT, type RolloutInput, type RolloutResult } from "./rollout.ts";
import { WATCH, type WatchInput } from "./watch.ts";

/** The name under which it is registered. */
export const RELEASE = "release";

/** Which release. */
export interface ReleaseInput {
  readonly releaseId: ReleaseId;
}

/** Why a release ends before anything is built. */
interface Stop {
  readonly kind: "stopped";
  readonly state: "rejected" | "superseded" | "aborted" | "failed";
  readonly reason: string;
}

/** The worst of several rollouts is the state of their release. */
const WORST_FIRST = ["failed", "rolled-back", "aborted", "superseded", "completed"] as const;

/** Carries one release from its record to its end. */
export function* release(context: OrchestrationContext): Steps<ReleaseState> {
  const input = context.df.getInput<ReleaseInput>();
  if (input === undefined) throw new Error(`${RELEASE} ${context.df.instanceId}: got no input`);
  const { releaseId } = input;
  const step = (): { releaseId: ReleaseId; now: string } => ({ releaseId, now: nowOf(context) });

  function* finish(state: ReleaseState, reason: string): Steps<ReleaseState> {
    return yield* callActivity(context, "finishRelease", { ...step(), state, reason });
  }

  /** Has the rebase done elsewhere, or here where it is to be, or where that does not work out. */
  function* rebase(anchor: string, engine: "acr-tasks" | undefined): Steps<Preparation | Stop> {
    if (engine !== undefined) {
      const run: WatchInput = { activity: "watchRun", arguments: { releaseId, anchor } };
      const outcome = (yield context.df.callSubOrchestrator(WATCH, run, runInstance(releaseId))) as RunOutcome;
      if (outcome.kind === "prepared") return outcome.prepared;
      if (outcome.kind !== "fall-back") return { kind: "stopped", state: outcome.kind, reason: outcome.reason };
    }
    return yield* callActivity(context, "rebaseImage", { ...step(), anchor });
  }

  function* prepare(anchor: string | undefined, engine?: "acr-tasks"): Steps<Preparation | Stop> {
    if (anchor === undefined) {
      return yield* callActivity(context, "takeWholeImage", {
        ...step(),
        reason: "the fleet holds no known image yet",
      });
    }
    const { layers } = yield* callActivity(context, "compareImages", { ...step(), anchor });
    if (layers.length > 0) {
      const indexed = yield context.df.Task.all(layers.map((layer) => scheduleActivity(context, "indexLayer", layer)));
      for (const result of indexed as unknown[]) unwrap("indexLayer", result);
    }
    const { gate, whole } = yield* callActivity(context, "planRelease", { ...step(), anchor });
    if (gate?.kind === "reject") return { kind: "stopped", state: "rejected", reason: gate.reason };
    if (gate?.kind === "hold") {
      const hold: WatchInput = { activity: "watchHold", arguments: { releaseId, reason: gate.reason } };
      const answer = (yield context.df.callSubOrchestrator(WATCH, hold, holdInstance(releaseId))) as Answer;
      if (answer.kind !== "approved") return { kind: "stopped", state: answer.kind, reason: answer.reason };
    }
    if (whole !== undefined) return yield* callActivity(context, "takeWholeImage", { ...step(), reason: whole });
    const prepared = yield* rebase(anchor, engine);
    if (prepared.kind === "deploy" && prepared.rebased) {
      yield* callActivity(context, "verifyImage", { ...step(), anchor, image: prepared.image });
    }
    return prepared;
  }

  try {
    const begun = yield* callActivity(context, "beginRelease", step());
    if (!begun.proceed) return "refused";
    const standing = yield* callActivity(context, "checkStanding", step());
    if (standing.kind === "superseded") return yield* finish("superseded", standing.reason);
    if (standing.kind !== "current") return yield* finish("aborted", standing.reason);

    const prepared = yield* prepare(begun.anchor, begun.engine);
    if (prepared.kind === "stopped") return yield* finish(prepared.state, prepared.reason);
    if (prepared.kind === "nothing") return yield* finish("nothing-to-do", prepared.reason);

    const rollouts = begun.hubs.map((hub) => {
      const rollout: RolloutInput = { releaseId, hub, rings: begun.rings };
      return context.df.callSubOrchestrator(ROLLOUT, rollout, rolloutInstance(releaseId, hub));
    });
    const results = (yield context.df.Task.all(rollouts)) as RolloutResult[];
    const state = WORST_FIRST.find((worst) => results.some((result) => result.state === worst)) ?? "completed";
    return yield* finish(state, results.map(({ hub, reason }) => `${hub}: ${reason}`).join("; "));
  } catch (error) {
    return yield* finish("failed", messageOf(error));
  }
}
