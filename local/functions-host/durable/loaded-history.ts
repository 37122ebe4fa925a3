// Histories in memory, with the indexes that planning needs, kept between turns and extended by each.
import { isScheduling, EventType, outcomeOf } from "./history.ts";
import type { HistoryEvent } from "./history.ts";
import type { DurableStore, InboxMessage, Instance } from "./store.ts";

/** How many histories stay in memory between turns. */
const MAX_CACHED = 500;

/** An instance's history; `scheduled` and `outcomes` are by sequence id. */
export interface LoadedHistory {
  readonly executionId: string;
  readonly events: HistoryEvent[];
  readonly scheduled: Map<number, HistoryEvent>;
  readonly outcomes: Map<number, HistoryEvent>;
}

/** Histories by instance, the least recently used given up first. */
export interface HistoryCache {
  /** From memory if it is of the instance's current execution, else from the store. */
  load(instance: Instance): LoadedHistory;
  /** Adds a committed turn's events and keeps the history. */
  extend(id: string, history: LoadedHistory, events: readonly HistoryEvent[]): void;
  forget(id: string): void;
}

/** Creates an empty cache over the store. */
export function createHistoryCache(store: DurableStore): HistoryCache {
  const cache = new Map<string, LoadedHistory>();
  return {
    load({ id, executionId }) {
      const cached = cache.get(id);
      if (cached?.executionId === executionId) return cached;
      const history = { executionId, events: [], scheduled: new Map(), outcomes: new Map() };
      absorb(history, store.readHistory(id));
      return history;
    },
    extend(id, history, events) {
      absorb(history, events);
      cache.delete(id);
      cache.set(id, history);
      const oldest = cache.size > MAX_CACHED ? cache.keys().next().value : undefined;
      if (oldest !== undefined) cache.delete(oldest);
    },
    forget: (id) => void cache.delete(id),
  };
}

function absorb(history: LoadedHistory, events: readonly HistoryEvent[]): void {
  for (const event of events) {
    event.IsPlayed = true;
    history.events.push(event);
    addOutcome(history.outcomes, event);
    if (isScheduling(event)) history.scheduled.set(event.EventId, event);
  }
}

/** Messages for this execution, its start first, each outcome at most once and only of what was scheduled. */
export function selectMessages(
  inbox: readonly InboxMessage[],
  instance: Instance,
  history: LoadedHistory,
): InboxMessage[] {
  const seen = new Set<number>();
  return inbox
    .filter(({ executionId, fact }) => {
      if (executionId !== null && executionId !== instance.executionId) return false;
      const id = outcomeOf(fact);
      if (id === undefined) return true;
      if (seen.has(id) || history.outcomes.has(id) || !history.scheduled.has(id)) return false;
      seen.add(id);
      return true;
    })
    .sort((a, b) => Number(isStart(b)) - Number(isStart(a)));
}

function isStart({ fact }: InboxMessage): boolean {
  return fact.EventType === EventType.ExecutionStarted;
}

/** Adds an event to an index of outcomes if it carries one. */
export function addOutcome(outcomes: Map<number, HistoryEvent>, event: HistoryEvent): void {
  const id = outcomeOf(event);
  if (id !== undefined) outcomes.set(id, event);
}
