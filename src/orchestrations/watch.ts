// Long polling: looks by an activity, waits for a timer or a wake-up, and continues as new, so that history stays short.
import type { OrchestrationContext } from "durable-functions";
import type { Look } from "../activities/hub-book.ts";
import { callActivity, nowOf, type Steps } from "./call.ts";

/** The name under which it is registered. */
export const WATCH = "watch";

/** The event that makes a watch look at once; it carries nothing, since what matters is written down beforehand. */
export const WAKE_EVENT = "wake";

/** Activities that can be watched: each look tells to wait, with a state for the next look, or the outcome. */
type Watchable = "watchHold" | "watchRun" | "acquireHub" | "assignSlots" | "watchStage" | "watchRollback";

/** What is watched. */
export interface WatchInput {
  readonly activity: Watchable;
  /** The activity's input but for `now` and `state`. */
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly state?: unknown;
}

/** One look and one wait of a watch; returns the outcome of the look that finishes it. */
export function* watch(context: OrchestrationContext): Steps<unknown> {
  const input = context.df.getInput<WatchInput>();
  if (input === undefined) throw new Error(`${WATCH} ${context.df.instanceId}: got no input`);
  const { activity, state } = input;
  const step = { ...input.arguments, now: nowOf(context), ...(state === undefined ? {} : { state }) };
  const look = (yield* callActivity(context, activity, step as never)) as Look<unknown, unknown>;
  if (look.kind === "done") return look.outcome;

  const timer = context.df.createTimer(new Date(context.df.currentUtcDateTime.getTime() + look.waitMs));
  const wake = context.df.waitForExternalEvent(WAKE_EVENT);
  const first = yield context.df.Task.any([timer, wake]);
  if (first === wake) timer.cancel();
  context.df.continueAsNew({ ...input, state: look.state });
  return undefined;
}
