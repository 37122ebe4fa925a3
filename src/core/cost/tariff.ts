// What bytes over metered mobile links cost.
/** Decimal gigabyte, as mobile tariffs count. */
const BYTES_PER_GIGABYTE = 1e9;

/**
 * A data tariff. The default of 24 USD per GB is what the published totals (1,440 USD for 60 MB on 1,000 devices) equal.
 */
export interface Tariff {
  /** ISO 4217. */
  readonly currency: string;
  readonly perGigabyte: number;
  /** `sims` devices share `gigabytes` for `price`; only what exceeds the pools is paid per gigabyte. */
  readonly pool?: { readonly sims: number; readonly gigabytes: number; readonly price: number } | undefined;
}

/** An amount of money, e.g. `{ amount: 1440, currency: "USD" }`; rounded to cents. */
export interface Money {
  readonly amount: number;
  readonly currency: string;
}

/** What it costs that each of `devices` devices downloads `bytesPerDevice` bytes once. */
export function priceTransfer(tariff: Tariff, bytesPerDevice: number, devices: number): Money {
  const gigabytes = (bytesPerDevice * devices) / BYTES_PER_GIGABYTE;
  const { pool } = tariff;
  let amount: number;
  if (pool === undefined) {
    amount = gigabytes * tariff.perGigabyte;
  } else {
    const pools = Math.ceil(devices / pool.sims);
    amount = pools * pool.price + Math.max(0, gigabytes - pools * pool.gigabytes) * tariff.perGigabyte;
  }
  return { amount: Math.round(amount * 100) / 100, currency: tariff.currency };
}
