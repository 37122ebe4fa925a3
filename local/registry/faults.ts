// Faults on purpose: the next requests that match a pattern are refused, cut, damaged or delayed.
import { Transform } from "node:stream";
import { z } from "zod";

/** What happens to a request. */
export type FaultEffect =
  /** Answers with an HTTP status in the registry's error form; `code` defaults to UNKNOWN. */
  | {
      readonly kind: "status";
      readonly status: number;
      readonly code?: string;
      readonly retryAfterSeconds?: number;
    }
  /** Closes the connection with a TCP reset before any answer. */
  | { readonly kind: "reset" }
  /** Sends the headers of the whole body but only its first bytes, then closes. */
  | { readonly kind: "truncate"; readonly afterBytes: number }
  /** Flips every bit of the body's byte at `offset`. */
  | { readonly kind: "corrupt"; readonly offset: number }
  /** Waits before the request is looked at. */
  | { readonly kind: "delay"; readonly ms: number };

/** The next `times` (1) requests that match suffer `effect`. */
export interface Fault {
  /** What is left out matches all; `path` is a regular expression over the path as sent, `client` a label. */
  readonly match?: { readonly method?: string; readonly path?: string; readonly client?: string };
  readonly times?: number;
  readonly effect: FaultEffect;
}

/** A fault as the admin API takes it. */
export const faultSchema: z.ZodType<Fault> = z.strictObject({
  match: z
    .strictObject({
      method: z.string().exactOptional(),
      path: z.string().refine(isPattern, "is not a regular expression").exactOptional(),
      client: z.string().exactOptional(),
    })
    .exactOptional(),
  times: z.int().positive().exactOptional(),
  effect: z.discriminatedUnion("kind", [
    z.strictObject({
      kind: z.literal("status"),
      status: z.int().min(400).max(599),
      code: z.string().exactOptional(),
      retryAfterSeconds: z.int().nonnegative().exactOptional(),
    }),
    z.strictObject({ kind: z.literal("reset") }),
    z.strictObject({ kind: z.literal("truncate"), afterBytes: z.int().nonnegative() }),
    z.strictObject({ kind: z.literal("corrupt"), offset: z.int().nonnegative() }),
    z.strictObject({ kind: z.literal("delay"), ms: z.number().nonnegative() }),
  ]),
});

/** Faults waiting for their requests. */
export interface Faults {
  /** Adds a fault; the returned function tells how many requests it still waits for. */
  inject(fault: Fault): () => number;
  /** Takes the effects of every fault that matches, in the order they were injected. */
  take(request: { method: string; path: string; client: string }): FaultEffect[];
  clear(): void;
}

function isPattern(text: string): boolean {
  try {
    return new RegExp(text) instanceof RegExp;
  } catch {
    return false;
  }
}

/** Creates an empty list of faults. */
export function createFaults(): Faults {
  const waiting: { readonly fault: Fault; remaining: number }[] = [];
  return {
    inject(fault) {
      const entry = { fault, remaining: fault.times ?? 1 };
      waiting.push(entry);
      return () => entry.remaining;
    },
    take({ method, path, client }) {
      return waiting.flatMap((entry) => {
        const { match = {}, effect } = entry.fault;
        const isMatch =
          entry.remaining > 0 &&
          (match.method === undefined || match.method === method) &&
          (match.client === undefined || match.client === client) &&
          (match.path === undefined || new RegExp(match.path).test(path));
        if (!isMatch) return [];
        entry.remaining -= 1;
        return [effect];
      });
    },
    clear() {
      for (const entry of waiting.splice(0)) entry.remaining = 0;
    },
  };
}

/** A stream that flips every bit of the byte at `offset`. */
export function createCorruptor(offset: number): Transform {
  let seen = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const at = offset - seen;
      seen += chunk.length;
      if (at < 0 || at >= chunk.length) return done(null, chunk);
      const damaged = Buffer.from(chunk);
      damaged[at] = (damaged[at] ?? 0) ^ 0xff;
      return done(null, damaged);
    },
  });
}
