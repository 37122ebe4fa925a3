// A rebase engine that works for minutes somewhere else: started, looked at by timers, collected; never waited for.
import type { RunState } from "../core/release/rebase-run.ts";
import type { RebaseRequest, RebaseSummary, ResolvedImage } from "./rebase-engine.ts";

/** A run under way; small JSON without secrets, fit for a durable history. */
export interface RunHandle {
  readonly runner: "cmd" | "build";
  readonly runId: string;
  /** The images as they were when the run was started: tags that move later do not matter. */
  readonly anchor: ResolvedImage;
  readonly candidate: ResolvedImage;
  /** The reference that the result is tagged with. */
  readonly target: string;
  readonly platform?: string;
}

/**
 * What came of starting: a `run`; `needless` when nothing but manifests, markers and metadata would be written;
 * `unsuitable` when this engine cannot do it. The last two are for the engine `direct`.
 */
export type RunStart =
  | { readonly kind: "run"; readonly handle: RunHandle }
  | { readonly kind: "needless"; readonly reason: string }
  | { readonly kind: "unsuitable"; readonly reason: string };

/** Starts rebases and brings their results home. Every call is short and may be repeated; a run done twice gives one image. */
export interface RebaseRuns {
  start(request: RebaseRequest): Promise<RunStart>;
  /** Asks the service how the run is; the log's tail comes with the end. */
  look(handle: RunHandle): Promise<RunState>;
  /** Ends a run; one that is over stays as it is. */
  cancel(handle: RunHandle): Promise<void>;
  /** Re-reads and proves what a run left in the registry; nothing that the run says of itself is believed. */
  collect(handle: RunHandle): Promise<RebaseSummary>;
  /** A link to the log that works for a while and carries a signature: for people, not for histories. */
  linkLog(handle: RunHandle): Promise<string>;
}
