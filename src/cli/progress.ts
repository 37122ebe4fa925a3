// Progress bars on terminals only: one per layer that is being read, and one for all images where there are many.
import type { SingleBar } from "cli-progress";
import type { HistoryStep, ReadProgress } from "../image-tools.ts";
import { formatBytes, shortenDigest } from "./format.ts";

/** Layers below this size are read before anyone could see a bar. */
const MIN_BYTES = 1_000_000;

const STEP_VERBS: Readonly<Record<HistoryStep["step"], string>> = { list: "reading image", compare: "comparing push" };

/** Bars on their way. */
export interface Progress {
  readonly add: (progress: ReadProgress) => void;
  readonly step: (step: HistoryStep) => void;
  stop(): void;
}

/** Starts showing progress, or returns undefined when the stream is no terminal. */
export async function startProgress(stream: NodeJS.WriteStream): Promise<Progress | undefined> {
  if (!stream.isTTY) return undefined;
  const { MultiBar, Presets } = await import("cli-progress");
  const bars = new Map<string, SingleBar>();
  let images: { readonly bar: SingleBar; readonly step: HistoryStep["step"] } | undefined;
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
      if (bar.getProgress() < 1) return;
      multi.remove(bar);
      bars.delete(digest);
    },
    step({ step, subject, done, total }) {
      if (images?.step !== step) {
        if (images !== undefined) multi.remove(images.bar);
        const format = `${STEP_VERBS[step]} {value}/{total} {bar} {subject}`;
        images = { bar: multi.create(total, 0, { subject }, { format }), step };
      }
      images.bar.update(done, { subject });
    },
    stop: () => multi.stop(),
  };
}
