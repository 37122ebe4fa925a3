// Timer schedules: NCRONTAB expressions of six or five fields, and constant intervals given as time spans.
import { Cron } from "croner";
import { FunctionsHostError } from "./errors.ts";
import { parseTimeSpan } from "./host-json.ts";

/** When a timer fires. */
export interface Schedule {
  /** The first occurrence after `afterMs`, in ms. */
  next(afterMs: number): number;
  /** Whether occurrences follow the wall clock through changes of summer time. */
  readonly adjustForDst: boolean;
}

/** NCRONTAB knows lists, ranges, steps and names, and none of cron's later inventions. */
const FIELD = /^(?:\*|[A-Za-z]{3}|\d+)(?:-(?:[A-Za-z]{3}|\d+))?(?:\/\d+)?$/;

/**
 * Parses a schedule: `{second} {minute} {hour} {day} {month} {day of week}`, the same without seconds, or `hh:mm:ss`.
 *
 * As in NCRONTAB both the day and the day of week must match; time spans are constant intervals.
 */
export function parseSchedule(text: string, timezone: string, subject: string): Schedule {
  const interval = parseTimeSpan(text);
  if (interval !== undefined && interval > 0) return { next: (afterMs) => afterMs + interval, adjustForDst: false };

  const fields = text.trim().split(/\s+/);
  const isValid =
    (fields.length === 5 || fields.length === 6) &&
    fields.every((field) => field.split(",").every((part) => FIELD.test(part)));
  if (!isValid) throw badSchedule(text, subject);
  let cron: Cron;
  try {
    const pattern = fields.length === 5 ? `0 ${fields.join(" ")}` : fields.join(" ");
    cron = new Cron(pattern, { paused: true, timezone, domAndDow: true, sloppyRanges: true });
  } catch (cause) {
    throw badSchedule(text, subject, cause);
  }
  return {
    next(afterMs) {
      const next = cron.nextRun(new Date(afterMs));
      if (next === null) throw badSchedule(text, subject);
      return next.getTime();
    },
    adjustForDst: true,
  };
}

function badSchedule(text: string, subject: string, cause?: unknown): FunctionsHostError {
  const want = "an NCRONTAB expression that occurs, or a time span";
  return new FunctionsHostError("BAD_SCHEDULE", { operation: "load function", subject, got: text, want, cause });
}
