// Gives runs to agents: after the queue's delay, in order, as many at a time as a pool has agents, for so long at most.
import type { Clock } from "../clock.ts";

/** Why a run was ended from outside. */
export type StopReason = "canceled" | "timeout" | "closed";

/** Work for an agent. */
interface Job {
  readonly pool: string;
  /** How long it may run, in ms of the clock. */
  readonly timeoutMs: number;
  /** True: no agent ever takes it. */
  readonly stuck: boolean;
  /** Runs on an agent; resolves in any case, soon after the signal, whose reason is a StopReason. */
  readonly work: (signal: AbortSignal) => Promise<void>;
  /** Called instead of `work` when it was stopped while it waited. */
  readonly dropped: (reason: StopReason) => void;
}

/** A job that waits or runs. */
export interface JobHandle {
  stop(reason: StopReason): void;
}

/** Schedules jobs. */
export interface Scheduler {
  submit(job: Job): JobHandle;
  /** Stops everything and waits for what ran. */
  close(): Promise<void>;
}

/** How many agents there are, by pool, and how long a run waits in any case, in ms of the clock. */
export interface SchedulerOptions {
  readonly clock: Clock;
  readonly agents: Readonly<Record<string, number>>;
  readonly queueDelayMs: number;
}

interface Entry {
  readonly job: Job;
  readonly controller: AbortController;
  state: "delayed" | "ready" | "working" | "done";
  endDelay: () => void;
}

/** Creates a scheduler without jobs. */
export function createScheduler({ clock, agents, queueDelayMs }: SchedulerOptions): Scheduler {
  const entries = new Set<Entry>();
  const working = new Set<Promise<void>>();

  const dispatch = (): void => {
    for (const entry of entries) {
      const { pool } = entry.job;
      const busy = [...entries].filter((other) => other.job.pool === pool && other.state === "working").length;
      if (entry.state === "ready" && !entry.job.stuck && busy < (agents[pool] ?? 0)) start(entry);
    }
  };
  const start = (entry: Entry): void => {
    entry.state = "working";
    const cancelTimer = clock.after(entry.job.timeoutMs, () => entry.controller.abort("timeout"));
    const done = entry.job.work(entry.controller.signal).finally(() => {
      cancelTimer();
      entry.state = "done";
      entries.delete(entry);
      working.delete(done);
      dispatch();
    });
    working.add(done);
  };
  const stop = (entry: Entry, reason: StopReason): void => {
    if (entry.state === "working") entry.controller.abort(reason);
    if (entry.state !== "delayed" && entry.state !== "ready") return;
    entry.state = "done";
    entry.endDelay();
    entries.delete(entry);
    entry.job.dropped(reason);
  };

  return {
    submit(job) {
      const entry: Entry = { job, controller: new AbortController(), state: "delayed", endDelay: () => {} };
      entries.add(entry);
      entry.endDelay = clock.after(queueDelayMs, () => {
        if (entry.state !== "delayed") return;
        entry.state = "ready";
        dispatch();
      });
      return { stop: (reason) => stop(entry, reason) };
    },
    async close() {
      for (const entry of entries) stop(entry, "closed");
      await Promise.all(working);
    },
  };
}
