// What the HTTP API shows of a release: its record with the money it saves and what it waits for.
import { priceTransfer, type Tariff } from "../cost/tariff.ts";
import { isFinal, type ReleaseRecord, type RolloutProgress, type Saving } from "./record.ts";

/** A release as operations see it. */
export interface ReleaseView extends ReleaseRecord {
  /** What it waits for, in words; absent when it is over. */
  readonly waitsFor?: string;
  /** For the devices that are targeted so far; absent until the sizes are known. */
  readonly saving?: Saving;
}

function countTargeted({ stages }: RolloutProgress): number {
  return stages.reduce((most, { counts }) => Math.max(most, counts?.targeted ?? 0), 0);
}

function findWait(record: ReleaseRecord): string | undefined {
  if (isFinal(record.state)) return undefined;
  const rollouts = Object.values(record.rollouts).filter(({ waitsFor }) => waitsFor);
  if (rollouts.length > 0) return rollouts.map(({ hub, waitsFor }) => `${hub}: ${waitsFor}`).join("; ");
  if (record.run?.waitsFor) return record.run.waitsFor;
  const running = Object.entries(record.steps).filter(([, { finishedAt }]) => finishedAt === undefined);
  return running.length > 0 ? `step ${running.at(-1)?.[0]}` : "its orchestration to start";
}

/** What an update of `fullBytes` or `updateBytes` per device comes to for a number of devices. */
function computeSaving(
  { fullBytes, updateBytes }: { readonly fullBytes: number; readonly updateBytes: number },
  devices: number,
  tariff: Tariff,
): Saving {
  return {
    devices,
    fullBytes: fullBytes * devices,
    updateBytes: updateBytes * devices,
    fullCost: priceTransfer(tariff, fullBytes, devices),
    updateCost: priceTransfer(tariff, updateBytes, devices),
  };
}

/** The view of a record. */
export function viewRelease(record: ReleaseRecord, tariff: Tariff): ReleaseView {
  const devices = Object.values(record.rollouts).reduce((sum, rollout) => sum + countTargeted(rollout), 0);
  const waitsFor = findWait(record);
  return {
    ...record,
    ...(waitsFor === undefined ? {} : { waitsFor }),
    ...(record.sizes === undefined ? {} : { saving: computeSaving(record.sizes, devices, tariff) }),
  };
}
