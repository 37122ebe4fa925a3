// Durable's history events in the shape that `durable-functions` 3.5 replays.

/** Event types by their wire codes. */
export const EventType = {
  ExecutionStarted: 0,
  ExecutionCompleted: 1,
  ExecutionFailed: 2,
  ExecutionTerminated: 3,
  TaskScheduled: 4,
  TaskCompleted: 5,
  TaskFailed: 6,
  SubOrchestrationInstanceCreated: 7,
  SubOrchestrationInstanceCompleted: 8,
  SubOrchestrationInstanceFailed: 9,
  TimerCreated: 10,
  TimerFired: 11,
  OrchestratorStarted: 12,
  OrchestratorCompleted: 13,
  EventSent: 14,
  EventRaised: 15,
  ExecutionSuspended: 19,
  ExecutionResumed: 20,
} as const;

/** A wire code of `EventType`. */
export type EventTypeCode = (typeof EventType)[keyof typeof EventType];

/** The name of an event type, as Durable's HTTP API shows it. */
export function eventTypeName(code: EventTypeCode): string {
  return Object.entries(EventType).find(([, value]) => value === code)?.[0] ?? String(code);
}

/** Why an activity failed, when the app registered an exception properties provider. */
export interface FailureDetails {
  readonly ErrorType: string;
  readonly ErrorMessage: string;
  readonly StackTrace?: string;
  readonly IsNonRetriable: boolean;
  readonly Properties?: Readonly<Record<string, unknown>>;
}

/** What happened, without when; messages to an instance are facts, history events are facts with a time. */
export interface HistoryFact {
  readonly EventType: EventTypeCode;
  /** The sequence id of what the orchestrator scheduled; -1 for what happened to it. */
  readonly EventId?: number;
  readonly Name?: string;
  readonly Version?: string;
  /** JSON text. */
  readonly Input?: string | null;
  readonly InstanceId?: string;
  readonly TaskScheduledId?: number;
  readonly TimerId?: number;
  readonly FireAt?: string;
  /** JSON text. */
  readonly Result?: string;
  readonly Reason?: string;
  readonly Details?: string;
  readonly FailureDetails?: FailureDetails;
  /** Scheduled by the library on its own: a retry, its delay, a further leg of a long timer, a poll. */
  readonly FollowUp?: true;
}

/** An event of an instance's history. */
export interface HistoryEvent extends HistoryFact {
  readonly EventId: number;
  readonly Timestamp: Date;
  /** Whether an earlier turn saw it; set once its turn is committed. */
  IsPlayed: boolean;
}

/** Gives a fact its time. */
export function toEvent(fact: HistoryFact, timestampMs: number): HistoryEvent {
  return { EventId: -1, ...fact, Timestamp: new Date(timestampMs), IsPlayed: false };
}

/** The stored form: JSON with the time in ms, without the flag that only holds within a turn. */
export function serializeEvent(event: HistoryEvent): string {
  return JSON.stringify({ ...event, Timestamp: event.Timestamp.getTime(), IsPlayed: undefined });
}

/** Reads the stored form of an event of an earlier turn. */
export function parseEvent(text: string): HistoryEvent {
  const stored = JSON.parse(text) as Omit<HistoryEvent, "Timestamp" | "IsPlayed"> & { Timestamp: number };
  return { ...stored, Timestamp: new Date(stored.Timestamp), IsPlayed: true };
}

/** The id of the scheduled thing whose outcome an event carries, or undefined. */
export function outcomeOf(event: HistoryFact): number | undefined {
  switch (event.EventType) {
    case EventType.TaskCompleted:
    case EventType.TaskFailed:
    case EventType.SubOrchestrationInstanceCompleted:
    case EventType.SubOrchestrationInstanceFailed:
      return event.TaskScheduledId;
    case EventType.TimerFired:
      return event.TimerId;
    default:
      return undefined;
  }
}

/** Whether an event records something that the orchestrator scheduled under `EventId`. */
export function isScheduling({ EventType: type }: HistoryFact): boolean {
  return (
    type === EventType.TaskScheduled ||
    type === EventType.SubOrchestrationInstanceCreated ||
    type === EventType.TimerCreated ||
    type === EventType.EventSent
  );
}
