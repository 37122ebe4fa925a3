// An instance's status as Durable's HTTP API shows it.
import { EventType, eventTypeName } from "./history.ts";
import type { HistoryEvent } from "./history.ts";
import type { Instance } from "./store.ts";

/** Which parts to show. */
export interface StatusParts {
  readonly input: boolean;
  readonly history: boolean;
  /** Results and inputs inside the history. */
  readonly historyOutput: boolean;
}

/** The status; `historyEvents` only when asked for. */
export function describeStatus(
  instance: Instance,
  parts: StatusParts,
  history: readonly HistoryEvent[],
): Record<string, unknown> {
  return {
    name: instance.name,
    instanceId: instance.id,
    runtimeStatus: instance.status,
    input: parts.input ? parseJson(instance.input) : null,
    customStatus: parseJson(instance.customStatus),
    output: parseJson(instance.output),
    createdTime: toSeconds(instance.createdAt),
    lastUpdatedTime: toSeconds(instance.updatedAt),
    ...(parts.history && { historyEvents: describeHistory(history, parts.historyOutput) }),
  };
}

/** The API's times have whole seconds. */
function toSeconds(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}

function parseJson(text: string | null): unknown {
  return text === null ? null : JSON.parse(text);
}

/** Leaves out turns and schedulings, and tells outcomes with the name and time of what they belong to. */
function describeHistory(history: readonly HistoryEvent[], withOutput: boolean): Record<string, unknown>[] {
  const scheduled = new Map(history.filter(({ EventId }) => EventId >= 0).map((event) => [event.EventId, event]));
  const hidden: readonly number[] = [
    EventType.OrchestratorStarted,
    EventType.OrchestratorCompleted,
    EventType.TaskScheduled,
    EventType.TimerCreated,
    EventType.SubOrchestrationInstanceCreated,
  ];
  return history
    .filter((event) => !hidden.includes(event.EventType))
    .map((event) => {
      const origin = scheduled.get(event.TaskScheduledId ?? event.TimerId ?? -1);
      const named = event.EventType === EventType.ExecutionStarted || origin !== undefined;
      return {
        EventType: eventTypeName(event.EventType),
        Timestamp: event.Timestamp.toISOString(),
        ...(origin !== undefined && { ScheduledTime: origin.Timestamp.toISOString() }),
        ...(named && { FunctionName: origin?.Name ?? event.Name }),
        ...(!named && event.Name !== undefined && { Name: event.Name }),
        ...(event.FireAt !== undefined && { FireAt: event.FireAt }),
        ...(event.Reason !== undefined && { Reason: event.Reason }),
        ...(withOutput && event.Details !== undefined && { Details: event.Details }),
        ...(withOutput && event.Result !== undefined && { Result: parseJson(event.Result) }),
        ...(withOutput && typeof event.Input === "string" && { Input: readInput(event.Input) }),
      };
    });
}

/** Inputs are JSON except the reasons of control events. */
function readInput(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
