// A byte cache in memory, within a budget, in front of another one if there is one.
import type { ByteCache } from "../../ports/byte-cache.ts";

/** How much is kept, and where to look for the rest. */
export interface MemoryCacheOptions {
  /** When more bytes than this are held, those that were used longest ago go. */
  readonly maxBytes: number;
  readonly behind?: ByteCache;
}

/** Creates an empty cache. */
export function createMemoryCache({ maxBytes, behind }: MemoryCacheOptions): ByteCache {
  const entries = new Map<string, Uint8Array>();
  let held = 0;
  const take = (name: string): Uint8Array | undefined => {
    const found = entries.get(name);
    if (entries.delete(name)) held -= found?.length ?? 0;
    return found;
  };
  const keep = (name: string, bytes: Uint8Array): void => {
    take(name);
    entries.set(name, bytes);
    held += bytes.length;
    for (const oldest of entries.keys()) {
      if (held <= maxBytes) return;
      take(oldest);
    }
  };
  return {
    async get(name) {
      const found = take(name) ?? (await behind?.get(name));
      if (found !== undefined) keep(name, found);
      return found;
    },
    async put(name, bytes) {
      keep(name, bytes);
      await behind?.put(name, bytes);
    },
  };
}
