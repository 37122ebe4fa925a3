// Registers the orchestrations and activities with Durable Functions.
import * as df from "durable-functions";
import { settleActivity, type Activities } from "../activities/index.ts";
import { getApp } from "../app.ts";
import { RELEASE, release } from "../orchestrations/release.ts";
import { ROLLOUT, rollout } from "../orchestrations/rollout.ts";
import { WATCH, watch } from "../orchestrations/watch.ts";

df.app.orchestration(RELEASE, release);
df.app.orchestration(ROLLOUT, rollout);
df.app.orchestration(WATCH, watch);

/** The names are listed here, since settings must not be read before the first invocation. */
const ACTIVITY_NAMES = Object.keys({
  beginRelease: true,
  checkStanding: true,
  compareImages: true,
  indexLayer: true,
  planRelease: true,
  watchHold: true,
  rebaseImage: true,
  watchRun: true,
  verifyImage: true,
  takeWholeImage: true,
  finishRelease: true,
  acquireHub: true,
  assignSlots: true,
  openRollout: true,
  watchStage: true,
  startRollback: true,
  watchRollback: true,
  completeRollout: true,
  leaveRollout: true,
} satisfies Record<keyof Activities, true>) as (keyof Activities)[];

for (const name of ACTIVITY_NAMES) {
  df.app.activity(name, {
    handler: (input: unknown) => {
      const activity = getApp().activities[name] as (argument: unknown) => Promise<unknown>;
      return settleActivity(() => activity(input));
    },
  });
}
