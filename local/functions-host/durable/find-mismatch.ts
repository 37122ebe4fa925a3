// Detects orchestrator code that no longer does what its history says: changed code, or code that is not deterministic.
import { EventType } from "./history.ts";
import type { HistoryEvent } from "./history.ts";
import { ActionType } from "./library.ts";
import type { Action } from "./library.ts";
import { HTTP_ACTIVITY } from "./plan-work.ts";
import type { TurnFacts } from "./plan-work.ts";

/** Compares what history says was scheduled with what the code asks for now; returns the message of the difference. */
export function findMismatch({ replay, scheduled, outcomes, state }: TurnFacts): string | undefined {
  const recorded = [...scheduled.values()]
    .filter(({ FollowUp }) => FollowUp !== true)
    .sort((a, b) => a.EventId - b.EventId);
  const asked = [...new Set(replay.actions)].filter(
    ({ actionType }) => actionType !== ActionType.WaitForExternalEvent && actionType !== ActionType.ContinueAsNew,
  );
  for (const [index, event] of recorded.entries()) {
    const action = asked[index];
    if (action === undefined || !isSame(event, action)) return describeMismatch(event);
  }
  if (state.isDone || state.error !== undefined) return undefined;
  const open = new Set(replay.open.map(({ id }) => id));
  for (const event of scheduled.values()) {
    const isPending = event.EventType !== EventType.EventSent && !outcomes.has(event.EventId);
    if (isPending && !open.has(event.EventId)) return describeMismatch(event);
  }
  const orphan = replay.unclaimed.find((key) => scheduled.has(Number(key)) && outcomes.has(Number(key)));
  return orphan === undefined ? undefined : describeMismatch(scheduled.get(Number(orphan)) as HistoryEvent);
}

function isSame(event: HistoryEvent, action: Action): boolean {
  const sameName = event.Name?.toLowerCase() === action.functionName?.toLowerCase();
  switch (action.actionType) {
    case ActionType.CallActivity:
    case ActionType.CallActivityWithRetry:
      return event.EventType === EventType.TaskScheduled && sameName;
    case ActionType.CallSubOrchestrator:
    case ActionType.CallSubOrchestratorWithRetry:
      return event.EventType === EventType.SubOrchestrationInstanceCreated && sameName;
    case ActionType.CreateTimer:
      return event.EventType === EventType.TimerCreated;
    case ActionType.CallHttp:
      return event.EventType === EventType.TaskScheduled && event.Name === HTTP_ACTIVITY;
    case ActionType.CallEntity:
    case ActionType.SignalEntity:
      return event.EventType === EventType.EventSent && event.InstanceId === action.instanceId;
    default:
      return false;
  }
}

function describeMismatch(event: HistoryEvent): string {
  const what =
    event.EventType === EventType.TaskScheduled
      ? "an activity task"
      : event.EventType === EventType.SubOrchestrationInstanceCreated
        ? "a sub-orchestration task"
        : event.EventType === EventType.TimerCreated
          ? "a timer task"
          : "an entity operation";
  const name = event.Name === undefined ? "" : ` and name '${event.Name}'`;
  return (
    `Non-Deterministic workflow detected: A previous execution of this orchestration scheduled ${what} with sequence ID ` +
    `${event.EventId}${name}, but the current replay execution hasn't (yet?) scheduled this task. Was a change made to the ` +
    "orchestrator code after this instance had already started running?"
  );
}
