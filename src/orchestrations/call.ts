// Calls activities from orchestrations: typed names and results, one retry policy, errors that can be branched on.
import * as df from "durable-functions";
import type { OrchestrationContext, Task } from "durable-functions";
import type { Activities, ActivityResult } from "../activities/index.ts";

/** What an orchestrator generator yields and is resumed with. */
export type Steps<T> = Generator<Task, T, unknown>;

type Name = keyof Activities;
type Input<N extends Name> = Parameters<Activities[N]>[0];
type Output<N extends Name> = Awaited<ReturnType<Activities[N]>>;

const FIRST_RETRY_MS = 5_000;
const MAX_RETRY_MS = 300_000;
const MAX_ATTEMPTS = 10;

/** An activity ended with an error that trying again would not mend. */
class ActivityError extends Error {
  override readonly name = "ActivityError";
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

function retryPolicy(): df.RetryOptions {
  const policy = new df.RetryOptions(FIRST_RETRY_MS, MAX_ATTEMPTS);
  policy.backoffCoefficient = 2;
  policy.maxRetryIntervalInMilliseconds = MAX_RETRY_MS;
  return policy;
}

/** The task of an activity, repeated with growing pauses while it throws. */
export function scheduleActivity<N extends Name>(context: OrchestrationContext, name: N, input: Input<N>): Task {
  return context.df.callActivityWithRetry(name, retryPolicy(), input);
}

/**
 * The value of a finished activity's task.
 * @throws ActivityError
 */
export function unwrap<N extends Name>(_name: N, result: unknown): Output<N> {
  const settled = result as ActivityResult<Output<N>>;
  if (settled.ok) return settled.value;
  throw new ActivityError(settled.code, settled.message);
}

/**
 * Calls an activity and returns its value.
 * @throws ActivityError, or Durable's error when every attempt failed
 */
export function* callActivity<N extends Name>(
  context: OrchestrationContext,
  name: N,
  input: Input<N>,
): Steps<Output<N>> {
  return unwrap(name, yield scheduleActivity(context, name, input));
}

/** The orchestrator's present, ISO 8601. */
export function nowOf(context: OrchestrationContext): string {
  return context.df.currentUtcDateTime.toISOString();
}

/** How Durable introduces what an activity or a sub-orchestration threw. */
const WRAPPING = /^(?:(?:Activity|Sub-orchestrator|Orchestrator) function '[^']*' failed: )+/;

/** What an error says, without the wrapping that Durable adds. */
export function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return (message.split("\n")[0] ?? message).replace(WRAPPING, "").trim();
}
