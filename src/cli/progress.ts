// Progress bars for layers that are being read, one per layer, on terminals only.
import type { SingleBar } from "cli-progress";
import type { ReadProgress } from "../image-tools.ts";
import { formatBytes, shortenDigest } from "./format.ts";

/** Layers below this size are read before anyone could see a bar. */
const MIN_BYTES = 1_000_000;

/** Bars on their way. */
export interface Progress {
  readonly add: (progress: ReadProgress) => void;
  stop(): void;
}

/** Starts showing progress, or returns undefined when the stream is no terminal. */
export async function startProgress(stream: NodeJS.WriteStream): Promise<Progress | undefined> {
  if (!stream.isTTY) return undefined;
  const { MultiBar, Presets } = await import("cli-progress");
  const bars = new Map<string, SingleBar>();
  const multi = new MultiBar(
    {
      stream,
      clearOnComplete: true,
      hideCursor: true,
      format: "reading {digest} {bar} {percentage}% of {size}",
    },
    Presets.shades_classic,
  );
  return {
    add({ layer: { digest, size }, bytes }) {
      if (size < MIN_BYTES) return;
      const known = bars.get(digest);
      const facts = { digest: shortenDigest(digest), size: formatBytes(size) };
      const bar = known ?? multi.create(size, 0, facts);
      if (known === undefined) bars.set(digest, bar);
      bar.increment(bytes);
    },
    stop: () => multi.stop(),
  };
}
