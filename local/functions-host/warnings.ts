// Collects what the app does that works here but is punished by the service, each once.
import type { LogSink } from "./log.ts";

/** What the service punishes. */
type WarningCode =
  | "BLOCKED_EVENT_LOOP"
  | "BODY_WITHOUT_LENGTH"
  | "CUSTOM_STATUS_TOO_LARGE"
  | "EVENT_NAME_CASE"
  | "EVENTS_DROPPED"
  | "HISTORY_TOO_LONG"
  | "LARGE_PAYLOAD"
  | "NON_DETERMINISTIC"
  | "OPEN_TASKS_AT_END"
  | "REPEATED_ACTIONS"
  | "RETRY_NOT_SUPPORTED"
  | "STALE_EVENT_WAITER";

/** A warning about `subject`, usually a function's name. */
export interface HostWarning {
  readonly code: WarningCode;
  readonly subject: string;
  readonly message: string;
}

/** The host's warnings so far. */
export interface Warnings {
  /** Remembers and logs a warning unless the same code was raised for the same subject before. */
  add(code: WarningCode, subject: string, message: string): void;
  list(): readonly HostWarning[];
}

/** Creates an empty collection that logs each new warning. */
export function createWarnings(log: LogSink): Warnings {
  const seen = new Map<string, HostWarning>();
  return {
    add(code, subject, message) {
      const key = `${code} ${subject}`;
      if (seen.has(key)) return;
      seen.set(key, { code, subject, message });
      log({ level: "warning", category: "host", message: `${code} ${subject}: ${message}` });
    },
    list: () => [...seen.values()],
  };
}
