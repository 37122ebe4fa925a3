// What pushes cost a fleet as they were, and what they would have cost rebased.
import { priceTransfer, type Money, type Tariff } from "./tariff.ts";

/** Bytes that each device downloads. */
export interface TransferBytes {
  readonly full: number;
  readonly delta: number;
}

/** What a fleet pays for one push or for several. */
export interface TransferCost {
  readonly full: Money;
  readonly delta: Money;
  readonly saved: Money;
}

/** Prices of each push and of all together. */
export interface Savings {
  readonly pushes: readonly TransferCost[];
  readonly total: {
    /** Per device. */
    readonly bytes: TransferBytes;
    /** Of all devices. */
    readonly fleetBytes: TransferBytes;
    readonly money: TransferCost;
  };
}

/** Prices pushes for `devices` devices. The total is one bill: pools are paid once, so it may be less than the sum. */
export function priceSavings(pushes: readonly TransferBytes[], devices: number, tariff: Tariff): Savings {
  const sum = (field: keyof TransferBytes): number => pushes.reduce((total, bytes) => total + bytes[field], 0);
  const bytes = { full: sum("full"), delta: sum("delta") };
  return {
    pushes: pushes.map((push) => priceBoth(push, devices, tariff)),
    total: {
      bytes,
      fleetBytes: { full: bytes.full * devices, delta: bytes.delta * devices },
      money: priceBoth(bytes, devices, tariff),
    },
  };
}

function priceBoth(bytes: TransferBytes, devices: number, tariff: Tariff): TransferCost {
  const full = priceTransfer(tariff, bytes.full, devices);
  const delta = priceTransfer(tariff, bytes.delta, devices);
  const amount = Math.round((full.amount - delta.amount) * 100) / 100;
  return { full, delta, saved: { amount, currency: tariff.currency } };
}
