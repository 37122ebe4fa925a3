// What transfers cost.
import { describe, expect, test } from "vitest";
import { tariffSchema } from "../../../src/core/cost/tariff-schema.ts";
import { priceTransfer } from "../../../src/core/cost/tariff.ts";

describe("priceTransfer", () => {
  const tariff = tariffSchema.parse(undefined);

  test("reproduces the published totals: 60 MB on 1,000 and 6,000 GB on 100,000 devices", () => {
    expect(priceTransfer(tariff, 60e6, 1_000)).toEqual({ amount: 1_440, currency: "USD" });
    expect(priceTransfer(tariff, 60e6, 100_000)).toEqual({ amount: 144_000, currency: "USD" });
  });

  test("prices seven kilobytes for 1,000 devices at cents", () => {
    expect(priceTransfer(tariff, 7_000, 1_000).amount).toBe(0.17);
  });

  test("charges pools first and only the excess by the gigabyte", () => {
    const pooled = tariffSchema.parse({ perGigabyte: 10, pool: { sims: 500, gigabytes: 1, price: 720 } });
    expect(priceTransfer(pooled, 1e6, 1_000).amount).toBe(1_440);
    expect(priceTransfer(pooled, 60e6, 1_000).amount).toBe(1_440 + 58 * 10);
  });

  test("refuses a currency that is no ISO code", () => {
    expect(tariffSchema.safeParse({ currency: "dollars" }).success).toBe(false);
  });
});
