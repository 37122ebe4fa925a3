// Slots: the stable two-digit hash that says in which ring of a rollout a device takes part.
import { createHash } from "node:crypto";

/** A device's slot, '00' to '99'. */
export type Slot = string;

/** How many slots there are. */
const SLOT_COUNT = 100;

/** The slot of a number from 0 to 99, e.g. 7 → '07'. */
function formatSlot(number: number): Slot {
  return String(number).padStart(2, "0");
}

/** The slot of a device: the first four bytes of sha256(deviceId), modulo 100; the same for ever, on every hub. */
export function slotOf(deviceId: string): Slot {
  return formatSlot(createHash("sha256").update(deviceId).digest().readUInt32BE(0) % SLOT_COUNT);
}

/** The grammar of a set of slots: two-digit numbers and ranges, e.g. `00-04,10`. */
export const SLOT_RANGES: RegExp = /^\d{2}(-\d{2})?(,\d{2}(-\d{2})?)*$/;

/** Expands `00-02,10` to its slots in ascending order, without repetition; a descending range is empty. */
export function parseSlots(ranges: string): Slot[] {
  const slots = new Set<Slot>();
  for (const range of ranges.split(",")) {
    const [first = "", last = first] = range.split("-");
    for (let number = Number(first); number <= Number(last); number++) slots.add(formatSlot(number));
  }
  return [...slots].sort();
}

/** Writes slots as `parseSlots` reads them, e.g. `00-02,10`. */
export function formatSlots(slots: readonly Slot[]): string {
  const ranges: [number, number][] = [];
  for (const slot of [...new Set(slots)].sort().map(Number)) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === slot - 1) last[1] = slot;
    else ranges.push([slot, slot]);
  }
  return ranges
    .map(([from, to]) => (from === to ? formatSlot(from) : `${formatSlot(from)}-${formatSlot(to)}`))
    .join(",");
}
