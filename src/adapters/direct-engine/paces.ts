// Lets one side's layers stream a little ahead of the other's, so that what they have in common is known in time.

/** Passes chunks on, at its own speed. */
export type Pace = (chunks: AsyncIterable<Buffer>) => AsyncIterable<Buffer>;

/** Two paces of which one follows the other. */
export interface Paces {
  readonly lead: Pace;
  /** Never passes on a byte whose position the lead has not passed. */
  readonly follow: Pace;
  /** Lets the follower run free; to be called when the lead has ended, however it ended. */
  readonly finishLead: () => void;
  /** Makes both end with an error at their next chunk, so that neither reads on for nothing. */
  readonly stop: () => void;
}

/** Creates two paces, counting unpacked bytes over all layers that go through them. */
export function createPaces(): Paces {
  let ahead = 0;
  let behind = 0;
  let isStopped = false;
  let wake: (() => void) | undefined;
  const advance = (bytes: number): void => {
    ahead += bytes;
    if (ahead >= behind) wake?.();
  };
  const checkStopped = (): void => {
    if (isStopped) throw new Error("read layers: stopped because the other side failed");
  };
  return {
    async *lead(chunks) {
      for await (const chunk of chunks) {
        checkStopped();
        yield chunk;
        advance(chunk.length);
      }
    },
    async *follow(chunks) {
      for await (const chunk of chunks) {
        behind += chunk.length;
        if (ahead < behind) await new Promise<void>((resolve) => (wake = resolve));
        checkStopped();
        yield chunk;
      }
    },
    finishLead: () => advance(Number.POSITIVE_INFINITY),
    stop: () => void (isStopped = true),
  };
}
