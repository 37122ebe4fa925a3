// Recorded histories in their compact form: one execution of an orchestrator, its events, and what each turn came to.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { HistoryEvent } from "../../local/functions-host/durable/history.ts";

/** What an orchestrator told its host after a turn, in the library's own protocol. */
export interface TurnState {
  readonly isDone: boolean;
  readonly actions: readonly (readonly unknown[])[];
  readonly output?: unknown;
  readonly error?: string;
}

/** One turn: how many of the execution's events it saw, and what it told; actions continue those of the turn before. */
export interface RecordedTurn {
  readonly seen: number;
  /** How many of the previous turn's actions are still the first ones. */
  readonly kept: number;
  readonly more: readonly unknown[];
  readonly isDone: boolean;
  readonly output?: unknown;
  readonly error?: string;
}

/** One execution of one instance. */
export interface RecordedExecution {
  readonly name: string;
  readonly instanceId: string;
  readonly parentInstanceId: string | null;
  readonly input: unknown;
  readonly events: readonly (Omit<HistoryEvent, "Timestamp" | "IsPlayed"> & { readonly Timestamp: string })[];
  readonly turns: readonly RecordedTurn[];
}

/** A line that the recording app wrote. */
export interface TurnLine {
  readonly name: string;
  readonly turn: {
    readonly instanceId: string;
    readonly parentInstanceId: string | null;
    readonly input: unknown;
    readonly history: readonly (RecordedExecution["events"][number] & { readonly IsPlayed: boolean })[];
  };
  readonly state: TurnState;
}

/** Executions of a watch kept at either end; those between differ in counts and times alone. */
const KEPT_EXECUTIONS = 2;

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** Puts the turns of each execution together. */
export function compact(lines: readonly TurnLine[]): RecordedExecution[] {
  const instances = new Map<string, TurnLine[][]>();
  for (const line of lines) {
    const executions = instances.get(line.turn.instanceId) ?? [];
    instances.set(line.turn.instanceId, executions);
    const last = executions.at(-1);
    const grows = last !== undefined && line.turn.history.some(({ IsPlayed }) => IsPlayed);
    if (grows) last.push(line);
    else executions.push([line]);
  }
  return [...instances.values()].flatMap((executions) =>
    executions.toSpliced(KEPT_EXECUTIONS, Math.max(0, executions.length - 2 * KEPT_EXECUTIONS)).map(compactExecution),
  );
}

function compactExecution(lines: readonly TurnLine[]): RecordedExecution {
  const { name, turn } = lines.at(-1) as TurnLine;
  let previous: readonly unknown[] = [];
  return {
    name,
    instanceId: turn.instanceId,
    parentInstanceId: turn.parentInstanceId,
    input: turn.input,
    events: turn.history.map(({ IsPlayed: _played, ...event }) => event),
    turns: lines.map(({ turn: { history }, state }) => {
      const actions = state.actions.flat();
      const differs = actions.findIndex((action, index) => !same(action, previous[index]));
      const kept = Math.min(differs === -1 ? actions.length : differs, previous.length);
      previous = actions;
      return {
        seen: history.length,
        kept,
        more: actions.slice(kept),
        isDone: state.isDone,
        ...(state.output === undefined ? {} : { output: state.output }),
        ...(state.error === undefined ? {} : { error: state.error }),
      };
    }),
  };
}

/** The events that a turn saw, as the host hands them to the library. */
export function eventsOf({ events }: RecordedExecution, { seen }: RecordedTurn): HistoryEvent[] {
  const visible = events.slice(0, seen);
  const started = visible.findLastIndex(({ EventType }) => EventType === 12);
  return visible.map((event, index) => ({
    ...event,
    Timestamp: new Date(event.Timestamp),
    IsPlayed: index < started,
  }));
}

const FOLDER = join(import.meta.dirname, "histories");

/** Every recorded scenario by name. */
export function readHistories(): Record<string, RecordedExecution[]> {
  return Object.fromEntries(
    readdirSync(FOLDER)
      .filter((file) => file.endsWith(".jsonl"))
      .map((file) => {
        const lines = readFileSync(join(FOLDER, file), "utf8").trim().split("\n");
        return [file.slice(0, -".jsonl".length), lines.map((line) => JSON.parse(line) as RecordedExecution)];
      }),
  );
}
