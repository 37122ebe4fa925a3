// Follows a rebase in ACR Tasks to its end: a person waits here, where the backend would set timers.
import { setTimeout as wait } from "node:timers/promises";
import { LighterError } from "../core/errors.ts";
import { decideRun, type RunRules, runRulesSchema } from "../core/release/rebase-run.ts";
import type { RebaseSummary, TaskTools } from "../task-tools.ts";

/** A rebase to be followed. */
export interface FollowedRebase {
  readonly anchor: string;
  readonly candidate: string;
  readonly target: string;
  readonly platform?: string;
}

/** What is said while it runs. */
export type Say = (text: string) => void;

const FIRST_PAUSE_MS = 500;
const LAST_PAUSE_MS = 10_000;
const RULES: RunRules = runRulesSchema.parse({});

/** Runs, retries and falls back as a product's default rules say. @throws LighterError RUN_FAILED with the log's tail */
export async function followRebase(
  { runs, engine }: Pick<TaskTools, "runs" | "engine">,
  request: FollowedRebase,
  say: Say,
): Promise<RebaseSummary> {
  for (let attempt = 1; ; attempt++) {
    const start = await runs.start(request);
    if (start.kind !== "run") {
      say(`done here instead: ${start.reason}`);
      return await engine.rebase(request);
    }
    const { handle } = start;
    say(`run ${handle.runId} (${handle.runner})`);
    let said = "";
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(LAST_PAUSE_MS, pauseMs * 1.5)) {
      const state = await runs.look(handle);
      const decision = decideRun({ state, attempt, now: new Date().toISOString(), rules: RULES });
      if (decision.act === "collect") return await runs.collect(handle);
      if (decision.act !== "wait") {
        if (decision.cancel) await runs.cancel(handle);
        if (state.state === "failed" && state.log.tail !== "") say(state.log.tail);
      }
      if (decision.act === "fail") {
        throw new LighterError("RUN_FAILED", {
          operation: "rebase by run",
          subject: handle.runId,
          got: decision.reason,
        });
      }
      if (decision.act === "fall-back") {
        say(`done here instead: ${decision.reason}`);
        return await engine.rebase(request);
      }
      if (decision.reason !== said) say(`${decision.act === "wait" ? "waiting for " : ""}${decision.reason}`);
      said = decision.reason;
      if (decision.act === "start-again") break;
      await wait(pauseMs);
    }
  }
}
