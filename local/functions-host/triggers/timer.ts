// Timer triggers: schedules that follow the host's clock and are caught up after a restart.
import { messageOf } from "../errors.ts";
import type { LoadedFunction } from "../functions.ts";
import { parseSchedule } from "../schedule.ts";
import type { Schedule } from "../schedule.ts";
import { resolveSetting } from "../settings.ts";
import type { RunningTrigger, TriggerHost, TriggerKind } from "./trigger.ts";

/** Schedules at least this long are monitored, that is remembered across restarts, unless `useMonitor` says otherwise. */
const MONITORED_FROM_MS = 60_000;

/** A timer's remembered occurrences, ms. */
interface ScheduleStatus {
  readonly last: number | null;
  readonly next: number;
  readonly updated: number;
}

interface Timer {
  readonly fn: LoadedFunction;
  readonly schedule: Schedule;
  readonly monitored: boolean;
  readonly runOnStartup: boolean;
}

/** The trigger kind. */
export const timerTrigger: TriggerKind = {
  types: ["timertrigger"],
  prepare: prepareTimers,
  manual: () => ({ json: describeTimer(true, undefined, false) }),
};

function prepareTimers(host: TriggerHost): RunningTrigger {
  const { clock, storage, settings, log } = host;
  const timezone = settings["WEBSITE_TIME_ZONE"] ?? "UTC";
  const timers = host.functions.map((fn): Timer => {
    const {
      schedule: text,
      runOnStartup,
      useMonitor,
    } = fn.trigger as { schedule?: string; runOnStartup?: boolean; useMonitor?: boolean };
    const schedule = parseSchedule(resolveSetting(text ?? "", settings, fn.name), timezone, fn.name);
    const first = schedule.next(clock.now());
    const monitored = useMonitor ?? schedule.next(first) - first >= MONITORED_FROM_MS;
    return { fn, schedule, monitored, runOnStartup: runOnStartup === true };
  });
  const cancels = new Map<Timer, () => void>();
  const running = new Set<Promise<void>>();
  let stopped = false;

  function readStatus({ fn }: Timer): ScheduleStatus | undefined {
    const row = storage.get("SELECT last, next, updated FROM timer_triggers WHERE name = ?", fn.name);
    return row === undefined
      ? undefined
      : { last: row["last"] as number | null, next: row["next"] as number, updated: row["updated"] as number };
  }

  function writeStatus({ fn }: Timer, { last, next, updated }: ScheduleStatus): void {
    storage.run("INSERT OR REPLACE INTO timer_triggers VALUES (?, ?, ?, ?)", fn.name, last, next, updated);
  }

  function arm(timer: Timer, next: number): void {
    if (stopped) return;
    cancels.set(
      timer,
      clock.after(Math.max(0, next - clock.now()), () => track(run(timer, false))),
    );
  }

  function track(work: Promise<void>): void {
    running.add(work);
    void work.finally(() => running.delete(work));
  }

  /** Runs the function; only when it is over is the next occurrence set, so runs never overlap and none is made up for. */
  async function run(timer: Timer, isPastDue: boolean): Promise<void> {
    const { fn, schedule, monitored } = timer;
    const startedAt = Math.floor(clock.now());
    const status = monitored
      ? (readStatus(timer) ?? { last: null, next: schedule.next(startedAt), updated: startedAt })
      : undefined;
    try {
      await host.invokeWithRetry({ fn, trigger: { json: describeTimer(schedule.adjustForDst, status, isPastDue) } });
    } catch (error) {
      log({ level: "error", category: "host", message: messageOf(error), functionName: fn.name });
    }
    if (stopped) return;
    const now = Math.floor(clock.now());
    const next = schedule.next(now);
    if (monitored) writeStatus(timer, { last: startedAt, next, updated: now });
    arm(timer, next);
  }

  return {
    start() {
      for (const timer of timers) {
        const now = Math.floor(clock.now());
        const status = timer.monitored ? readStatus(timer) : undefined;
        const isPastDue = status !== undefined && status.next <= now;
        if (timer.runOnStartup || isPastDue) {
          track(run(timer, isPastDue));
          continue;
        }
        const next = timer.schedule.next(now);
        if (timer.monitored) writeStatus(timer, { last: status?.last ?? null, next, updated: now });
        arm(timer, next);
      }
    },
    async stop() {
      stopped = true;
      for (const cancel of cancels.values()) cancel();
      await Promise.allSettled(running);
    },
  };
}

/** The timer object, with the host's PascalCase names; the library turns them into camelCase. */
function describeTimer(adjustForDst: boolean, status: ScheduleStatus | undefined, isPastDue: boolean): string {
  const iso = (ms: number | null): string => (ms === null ? "0001-01-01T00:00:00+00:00" : new Date(ms).toISOString());
  return JSON.stringify({
    Schedule: { AdjustForDST: adjustForDst },
    ScheduleStatus:
      status === undefined
        ? null
        : { Last: iso(status.last), Next: iso(status.next), LastUpdated: iso(status.updated) },
    IsPastDue: isPastDue,
  });
}
