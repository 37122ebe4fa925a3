// Runs this project's orchestrators through the unmodified library, turn by turn, as the functions host does.
import { createCoreApi, injectCoreApi } from "../../local/functions-host/core-api.ts";
import type { HistoryEvent } from "../../local/functions-host/durable/history.ts";
import { readReplay, type ReplayOutcome } from "../../local/functions-host/durable/library.ts";
import { listFunctions } from "../../local/functions-host/functions.ts";
import { createInvoke } from "../../local/functions-host/invoke.ts";
import type { TurnState } from "./histories.ts";

/** One turn to run. */
export interface Turn {
  readonly name: string;
  readonly instanceId: string;
  readonly parentInstanceId: string | null;
  readonly input: unknown;
  readonly events: readonly HistoryEvent[];
}

/** What a turn came to: the state that the library told, and what it has open. */
export interface TurnResult {
  readonly state: TurnState;
  readonly replay: ReplayOutcome;
}

const LABEL = "\n\n$OutOfProcData$:";

function readFailure(error: unknown): TurnState {
  const message = error instanceof Error ? error.message : String(error);
  const at = message.indexOf(LABEL);
  if (at === -1) throw error;
  return JSON.parse(message.slice(at + LABEL.length)) as TurnState;
}

/** Registers the orchestrators in this process, once, and returns the function that runs turns. */
export async function createReplayer(): Promise<(turn: Turn) => Promise<TurnResult>> {
  const core = createCoreApi(() => undefined);
  injectCoreApi(core.module);
  const df = await import("durable-functions");
  const [release, rollout, watch] = await Promise.all([
    import("../../src/orchestrations/release.ts"),
    import("../../src/orchestrations/rollout.ts"),
    import("../../src/orchestrations/watch.ts"),
  ]);
  df.app.orchestration(release.RELEASE, release.release);
  df.app.orchestration(rollout.ROLLOUT, rollout.rollout);
  df.app.orchestration(watch.WATCH, watch.watch);
  const none = new Set<string>();
  const functions = listFunctions(core, { triggers: new Set(["orchestrationtrigger"]), inputs: none, outputs: none });
  const silent = { begin: () => undefined, end: () => undefined };
  const invoke = createInvoke({ core, log: () => undefined, inputs: new Map(), watch: silent });

  return async ({ name, instanceId, parentInstanceId, input, events }) => {
    const fn = functions.find((known) => known.name === name);
    if (fn === undefined) throw new Error(`no orchestrator ${name}`);
    let context: object = {};
    const value = {
      // The library marks events as processed; a copy keeps the caller's for the next turn.
      history: events.map((event) => ({ ...event })),
      input,
      instanceId,
      isReplaying: events.some(({ IsPlayed }) => IsPlayed),
      parentInstanceId,
      upperSchemaVersion: 3,
      upperSchemaVersionNew: 3,
      maximumShortTimerDuration: "6.00:00:00",
      longRunningTimerIntervalDuration: "3.00:00:00",
      defaultHttpAsyncRequestSleepTimeMillseconds: 30_000,
    };
    let state: TurnState;
    try {
      const onContext = (made: object): void => void (context = made);
      const { result } = await invoke({ fn, trigger: { json: "null" }, value, raw: true, onContext });
      state = result as TurnState;
    } catch (error) {
      state = readFailure(error);
    }
    return { state: JSON.parse(JSON.stringify(state)) as TurnState, replay: readReplay(context) };
  };
}
