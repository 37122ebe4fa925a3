// Runs work per key: never twice at once for one key, at most so many keys at once, driven by wake-ups only.

/** A queue of keys that have work to do. */
export interface KeyedQueue {
  /** Says that `key` has work; a key that is being run is run again afterwards. */
  wake(key: string): void;
  /** Starts nothing more and resolves once nothing runs. */
  drain(): Promise<void>;
}

/** Creates a queue; what `run` rejects with goes to `failed`, and the key waits for its next wake-up. */
export function createKeyedQueue(
  limit: number,
  run: (key: string) => Promise<void>,
  failed: (key: string, error: unknown) => void,
): KeyedQueue {
  const ready = new Set<string>();
  const running = new Map<string, Promise<void>>();
  let scheduled = false;
  let stopped = false;

  function schedule(): void {
    if (scheduled || stopped) return;
    scheduled = true;
    setImmediate(pump);
  }

  function pump(): void {
    scheduled = false;
    for (const key of ready) {
      if (stopped || running.size >= limit) return;
      if (running.has(key)) continue;
      ready.delete(key);
      running.set(
        key,
        run(key)
          .catch((error: unknown) => failed(key, error))
          .finally(() => {
            running.delete(key);
            if (ready.size > 0) schedule();
          }),
      );
    }
  }

  return {
    wake(key) {
      ready.add(key);
      schedule();
    },
    async drain() {
      stopped = true;
      while (running.size > 0) await Promise.allSettled(running.values());
    },
  };
}
