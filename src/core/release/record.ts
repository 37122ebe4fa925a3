// The release record: the lock and the read model of one release, and the rules by which it changes.
import type { Money } from "../cost/tariff.ts";
import type { Digest } from "../image/descriptor.ts";
import type { TriggerEvent } from "./trigger-event.ts";
import type { ReleaseId } from "./intake.ts";

/** States in which a release is over and never changes again. */
const FINAL_STATES = [
  "completed",
  "nothing-to-do",
  "superseded",
  "rolled-back",
  "aborted",
  "refused",
  "rejected",
  "failed",
] as const;

/** Where a release stands. */
export type ReleaseState =
  | "accepted"
  | "preparing"
  | "held"
  | "rolling-out"
  | "rolling-back"
  | (typeof FINAL_STATES)[number];

/** How long one step took; `finishedAt` is absent while it runs. ISO 8601. */
interface StepTimes {
  readonly startedAt: string;
  readonly finishedAt?: string;
}

/** The image that is deployed, and how it came to be. */
interface ReleasedImage {
  /** By `registry/repository:tag@digest`. */
  readonly reference: string;
  readonly digest: Digest;
  /** `rebased` onto the anchor, or the candidate as it was pushed (`full`), with the reason. */
  readonly mode: "rebased" | "full";
  readonly reason?: string;
  readonly verified: "exact" | "not-needed";
  readonly layers: number;
}

/** What the update weighs for one device that holds the anchor, in bytes on the wire without transport headers. */
interface ReleaseSizes {
  /** Pulling the candidate as it was pushed. */
  readonly fullBytes: number;
  /** Pulling the released image. */
  readonly updateBytes: number;
  /** The delta layers alone. */
  readonly deltaLayerBytes: number;
}

/** The run of ACR Tasks that a rebase is or was done by. */
interface RunProgress {
  /** The run's ARM id, which names its log for good. */
  readonly run: string;
  readonly attempt: number;
  readonly state: string;
  /** The last lines of the log, once it is over. */
  readonly logTail?: string;
  readonly waitsFor?: string;
}

/** One ring of one hub. */
export interface StageProgress {
  readonly ring: string;
  /** As ranges, e.g. `00-04`. */
  readonly slots: string;
  readonly state: "settling" | "gating" | "baking" | "passed" | "failed" | "stopped";
  readonly enteredAt: string;
  readonly finishedAt?: string;
  readonly reason?: string;
  readonly counts?: {
    readonly expected: number;
    readonly targeted: number;
    readonly applied: number;
    readonly running: number;
    readonly failed: number;
  };
}

/** The way back. */
export interface RollbackProgress {
  readonly configurationId: string;
  readonly reason: string;
  readonly to: string;
  /** Every slot that was exposed, as ranges. */
  readonly slots: string;
  readonly state: "running" | "complete" | "incomplete";
  readonly expected?: number;
  readonly restored?: number;
  /** Devices whose twins were read one by one and showed the previous content. */
  readonly verifiedTwins?: number;
}

/** A release on one hub. */
export interface RolloutProgress {
  readonly hub: string;
  readonly configurationId: string;
  readonly priority: number;
  readonly state: "waiting" | "running" | "completed" | "superseded" | "rolled-back" | "aborted" | "failed";
  readonly stages: readonly StageProgress[];
  readonly rollback?: RollbackProgress;
  readonly waitsFor?: string;
}

/** Everything that is known about one release. */
export interface ReleaseRecord {
  readonly id: ReleaseId;
  readonly product: string;
  readonly attempt: number;
  readonly registry: string;
  readonly repository: string;
  readonly tag: string;
  readonly digest: Digest;
  readonly pushedAt: string;
  readonly trigger: { readonly source: TriggerEvent["source"]; readonly eventId: string; readonly why: string };
  readonly state: ReleaseState;
  readonly reason?: string;
  readonly acceptedAt: string;
  readonly updatedAt: string;
  readonly finishedAt?: string;
  readonly steps: Readonly<Record<string, StepTimes>>;
  readonly anchor?: string;
  /** The plan's facts as the engine reports them: drift, counts, ignored files. */
  readonly plan?: Readonly<Record<string, unknown>>;
  readonly image?: ReleasedImage;
  readonly run?: RunProgress;
  readonly sizes?: ReleaseSizes;
  readonly rollouts: Readonly<Record<string, RolloutProgress>>;
}

/** Whether a release is over. */
export function isFinal(state: ReleaseState): boolean {
  return (FINAL_STATES as readonly string[]).includes(state);
}

/** A change to a record. Applying the same change twice is the same as applying it once. */
export interface ReleaseUpdate {
  readonly state?: ReleaseState;
  readonly reason?: string;
  readonly startStep?: string;
  readonly finishStep?: string;
  readonly anchor?: string;
  readonly plan?: Readonly<Record<string, unknown>>;
  readonly image?: ReleasedImage;
  readonly run?: RunProgress;
  readonly sizes?: ReleaseSizes;
  /** Merged into the rollout of its hub; stages are matched by ring. */
  readonly rollout?: Partial<Omit<RolloutProgress, "hub" | "stages">> & {
    readonly hub: string;
    readonly stage?: StageProgress;
  };
}

function mergeStage(stages: readonly StageProgress[], stage: StageProgress | undefined): readonly StageProgress[] {
  if (stage === undefined) return stages;
  const index = stages.findIndex(({ ring }) => ring === stage.ring);
  if (index === -1) return [...stages, stage];
  const merged: StageProgress = { ...stages[index], ...stage, enteredAt: stages[index]?.enteredAt ?? stage.enteredAt };
  return stages.with(index, merged);
}

function mergeRollout(record: ReleaseRecord, change: NonNullable<ReleaseUpdate["rollout"]>): RolloutProgress {
  const { stage, ...facts } = change;
  const known: RolloutProgress = record.rollouts[change.hub] ?? {
    hub: change.hub,
    configurationId: "",
    priority: 0,
    state: "waiting",
    stages: [],
  };
  // A priority that was given stays: a second run of the activity that gave it must not move a deployment.
  const priority = known.priority || (facts.priority ?? 0);
  return { ...known, ...facts, priority, stages: mergeStage(known.stages, stage) };
}

/** The record after a change at `now` (ISO 8601). A record that is over stays as it is. */
export function applyUpdate(record: ReleaseRecord, update: ReleaseUpdate, now: string): ReleaseRecord {
  if (isFinal(record.state)) return record;
  const { startStep, finishStep, rollout, ...facts } = update;
  const steps = { ...record.steps };
  if (startStep !== undefined) steps[startStep] ??= { startedAt: now };
  if (finishStep !== undefined) {
    const times = steps[finishStep] ?? { startedAt: now };
    steps[finishStep] = { finishedAt: now, ...times };
  }
  const changed: ReleaseRecord = {
    ...record,
    ...facts,
    steps,
    updatedAt: now,
    rollouts:
      rollout === undefined ? record.rollouts : { ...record.rollouts, [rollout.hub]: mergeRollout(record, rollout) },
  };
  return isFinal(changed.state) ? { ...changed, finishedAt: now } : changed;
}

/** What a release saves, in bytes and money, for a number of devices. */
export interface Saving {
  readonly devices: number;
  readonly fullBytes: number;
  readonly updateBytes: number;
  readonly fullCost: Money;
  readonly updateCost: Money;
}
