// The names of a release's orchestration instances, derived so that a restart finds the same ones.
import type { ReleaseId } from "../core/release/intake.ts";

/** The rollout of a release on a hub. */
export const rolloutInstance = (releaseId: ReleaseId, hub: string): string => `${releaseId}.${hub}`;

/** A release that waits for approval. */
export const holdInstance = (releaseId: ReleaseId): string => `${releaseId}.hold`;

/** A release whose rebase runs elsewhere. */
export const runInstance = (releaseId: ReleaseId): string => `${releaseId}.run`;

/** What a rollout is waiting in: `acquire`, `slots`, `rollback`, or a ring's number. */
export const watchInstance = (releaseId: ReleaseId, hub: string, phase: string | number): string =>
  `${rolloutInstance(releaseId, hub)}.${phase}`;
