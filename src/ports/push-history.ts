// What a repository's past pushes cost its devices, and what they would have cost rebased.
import type { PlanSummary, ResolvedImage } from "./rebase-engine.ts";

/** Which pushes of which repository, e.g. `fleet.azurecr.io/app`. */
interface HistoryRequest {
  readonly repository: string;
  /** How many pushes at most, the newest ones. */
  readonly last: number;
  /** `os/architecture[/variant]`; default: linux/amd64 of an index, else the platform of the newest push. */
  readonly platform?: string;
  /** Only tags that match; `*` stands for any characters. */
  readonly tags?: string;
}

/** An image that was pushed once; `created` is what it says of itself, in RFC 3339. */
export interface PushedImage extends ResolvedImage {
  readonly tag: string;
  /** Further tags of the same image. */
  readonly otherTags: readonly string[];
  readonly created: string | null;
}

/**
 * A push compared with the one before. Of `bytes`, `full` is what a device downloaded that held the previous push;
 * `delta` what one would have that holds the image of the first push and the deltas since. Both count layers, config and
 * manifest; HTTP headers come on top.
 */
export interface MeasuredPush
  extends PushedImage, Pick<PlanSummary, "outcome" | "reason" | "bytes" | "files" | "drift" | "config"> {}

/** A tag that could not be compared. */
export interface SkippedTag {
  readonly tag: string;
  /** The code of the error that told why. */
  readonly code: string;
  readonly reason: string;
}

/** The pushes of a repository, oldest first. */
export interface HistorySummary {
  readonly repository: string;
  readonly platform: string | null;
  /** How pushes were put in order: by when images were created, or where they do not tell, by tag. */
  readonly orderedBy: "created" | "tag";
  /** What devices hold before the first of `pushes`; null when no image could be read. */
  readonly start: PushedImage | null;
  readonly pushes: readonly MeasuredPush[];
  readonly skipped: readonly SkippedTag[];
}

/** Measures past pushes without writing anything. */
export interface PushHistory {
  /** @throws RegistryError when the repository cannot be listed; a single image that cannot be read is skipped */
  measurePushes(request: HistoryRequest): Promise<HistorySummary>;
}
