// What makes reads awkward on a real registry: operations per minute by tier, and replicas that lag behind a push.
import { refuse } from "./refusal.ts";

const MINUTE_MS = 60_000;

/** Counts read operations in fixed minutes. */
export interface ReadLimit {
  /** Refuses with TOOMANYREQUESTS and Retry-After (seconds to the next minute) once the limit is reached. */
  admit(subject: string): void;
  /** Sets the limit from now on; undefined lifts it. */
  set(perMinute: number | undefined): void;
}

/** Creates the limit; ACR's tiers allow 1,000, 3,000 or 10,000 reads a minute. */
export function createReadLimit(perMinute: number | undefined, now: () => number): ReadLimit {
  let limit = perMinute;
  let minute = -1;
  let used = 0;
  return {
    admit(subject) {
      const current = Math.floor(now() / MINUTE_MS);
      if (current !== minute) {
        minute = current;
        used = 0;
      }
      if (limit === undefined || used++ < limit) return;
      const seconds = Math.max(1, Math.ceil(((minute + 1) * MINUTE_MS - now()) / 1000));
      refuse("TOOMANYREQUESTS", {
        operation: "read",
        subject,
        got: `more than ${limit} read operations this minute`,
        retryable: true,
        headers: { "Retry-After": String(seconds) },
      });
    },
    set(next) {
      limit = next;
    },
  };
}

/** What readers see of manifests that were pushed a moment ago. */
export interface ReplicaLag {
  /** Notes a push; `previous` is what the reference meant before, which readers keep seeing for a while. */
  pushed(repository: string, reference: string, previous: string | undefined): void;
  /** The digest that readers see behind a reference whose true digest is `current`. */
  seen(repository: string, reference: string, current: string | undefined): string | undefined;
  set(ms: number): void;
}

/** Creates the lag: for `ms` of `now`'s time after a push reads see what was there before. */
export function createReplicaLag(ms: number, now: () => number): ReplicaLag {
  let lag = ms;
  const pending = new Map<string, { readonly until: number; readonly previous: string | undefined }>();
  return {
    pushed(repository, reference, previous) {
      const key = `${repository}@${reference}`;
      const earlier = pending.get(key);
      const stillSeen = earlier !== undefined && earlier.until > now() ? earlier.previous : previous;
      if (lag > 0) pending.set(key, { until: now() + lag, previous: stillSeen });
    },
    seen(repository, reference, current) {
      const key = `${repository}@${reference}`;
      const entry = pending.get(key);
      if (entry === undefined) return current;
      if (entry.until > now()) return entry.previous;
      pending.delete(key);
      return current;
    },
    set(next) {
      lag = next;
    },
  };
}
