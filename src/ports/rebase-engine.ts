// What a rebase engine does with two images; every value is small, plain JSON, fit for a durable history.
import type { Descriptor, Digest } from "../core/image/descriptor.ts";
import type { Drift } from "../core/image/drift.ts";

/** The two images of a plan, as references such as `fleet.azurecr.io/app:2` or `…/app@sha256:…`. */
export interface PlanRequest {
  readonly anchor: string;
  readonly candidate: string;
  /** `os/architecture[/variant]`; picks from an index and must match an image. Default: linux/amd64 of an index. */
  readonly platform?: string;
}

/** A plan that is to be executed. */
export interface RebaseRequest extends PlanRequest {
  /** Where the result goes; default: the candidate's repository under the tag `iot-<candidate tag>`. */
  readonly target?: string;
}

/** A claim to be proven: that `result` equals `candidate` in content and config. */
interface VerifyRequest {
  readonly result: string;
  readonly candidate: string;
  /** If given, its layers must be the first layers of `result`. */
  readonly anchor?: string;
  readonly platform?: string;
}

/** An image named both ways. */
export interface ResolvedImage {
  readonly reference: string;
  readonly digest: Digest;
}

/**
 * What became of the comparison: `rebase` ships a delta; `nothing` has nothing to ship; `full` means that the images
 * share no layer, so that only the candidate itself can be released.
 */
type PlanOutcome = "rebase" | "nothing" | "full";

/** A plan in numbers: what would be shipped and why. Byte counts are what a device that holds the anchor downloads. */
export interface PlanSummary {
  readonly outcome: PlanOutcome;
  readonly reason: string;
  readonly anchor: ResolvedImage;
  readonly candidate: ResolvedImage;
  readonly sharedLayers: number;
  readonly bytes: {
    /** Missing layers, config and manifest of the candidate as it is. */
    readonly full: number;
    /** The same of the rebased image. */
    readonly delta: number;
    /** True when `delta` is computed from sizes because the delta was too large to be built for a plan. */
    readonly estimated: boolean;
  };
  readonly files: {
    readonly added: number;
    readonly changed: number;
    readonly removed: number;
    readonly ignored: { readonly mtimeOnly: number; readonly pyc: number; readonly volatile: number };
  };
  readonly drift: Drift;
  readonly config: { readonly changed: readonly string[] };
}

/** `exact`, or the differences found (bounded in number). */
export type Verification = "exact" | readonly string[];

/** A plan and what came of it. */
export interface RebaseSummary extends PlanSummary {
  /** The rebased image; of outcome `nothing` the anchor, of `full` the candidate: then nothing was pushed. */
  readonly result: ResolvedImage;
  /** The delta layers. */
  readonly layers: readonly { readonly digest: Digest; readonly size: number }[];
  readonly verified: Verification;
}

/** The outcome of a verification. */
interface VerifySummary {
  readonly result: ResolvedImage;
  readonly candidate: ResolvedImage;
  readonly verified: Verification;
}

/** Turns a candidate into delta layers on an anchor. All calls may be repeated; the same input gives the same digests. */
export interface RebaseEngine {
  /** Compares without writing anything. */
  plan(request: PlanRequest): Promise<PlanSummary>;
  /** Builds, pushes and verifies the rebased image. */
  rebase(request: RebaseRequest): Promise<RebaseSummary>;
  /** Re-reads a result from its registry and compares it with the candidate. */
  verify(request: VerifyRequest): Promise<VerifySummary>;
}

/** One layer to be indexed, with the repository that holds it. */
export interface LayerTask {
  readonly registry: string;
  readonly repository: string;
  readonly layer: Descriptor;
}

/** What two images have in common, before any layer is read. */
interface ImageComparison {
  readonly anchor: ResolvedImage;
  readonly candidate: ResolvedImage;
  readonly sharedLayers: number;
  /** The layers a plan will read, each digest once. */
  readonly layers: readonly LayerTask[];
}

/** The parts of planning that can run one at a time, each leaving its result in the cache of layer indexes. */
export interface LayerIndexer {
  /** Reads both manifests and configs and tells which layers have to be indexed. */
  compareImages(request: PlanRequest): Promise<ImageComparison>;
  /** Indexes one layer unless the cache has it. */
  indexLayer(task: LayerTask): Promise<{ readonly digest: Digest; readonly entries: number; readonly cached: boolean }>;
}
