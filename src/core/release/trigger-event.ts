// The one event that every source of releases is parsed into.
import type { Digest } from "../image/descriptor.ts";

/** Something was pushed, or somebody asked for a release. */
export interface TriggerEvent {
  readonly source: "acr-webhook" | "distribution" | "manual";
  /** The source's own id of the event, for the record only; identity comes from the content. */
  readonly eventId: string;
  /** The registry's host as the source names it; absent where the source does not say. */
  readonly registry?: string;
  readonly repository: string;
  readonly tag?: string;
  /** Absent in manual events that name a tag; then the tag's current digest is meant. */
  readonly digest?: Digest;
  /** When it was pushed, ISO 8601; orders candidates of one product. Absent = now. */
  readonly pushedAt?: string;
  /** An explicit wish to release again what was released before. */
  readonly rerun?: boolean;
}
