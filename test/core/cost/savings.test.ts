// What pushes cost in sum, and tariffs as people type them.
import { describe, expect, test } from "vitest";
import { priceSavings } from "../../../src/core/cost/savings.ts";
import { parseTariff } from "../../../src/core/cost/tariff-schema.ts";

describe("savings", () => {
  const usd = (amount: number) => ({ amount, currency: "USD" });

  test("price each push and all of them", () => {
    const pushes = [
      { full: 60_000_000, delta: 7_000 },
      { full: 61_000_000, delta: 0 },
    ];
    expect(priceSavings(pushes, 1_000, parseTariff("24"))).toEqual({
      pushes: [
        { full: usd(1_440), delta: usd(0.17), saved: usd(1_439.83) },
        { full: usd(1_464), delta: usd(0), saved: usd(1_464) },
      ],
      total: {
        bytes: { full: 121_000_000, delta: 7_000 },
        fleetBytes: { full: 121_000_000_000, delta: 7_000_000 },
        money: { full: usd(2_904), delta: usd(0.17), saved: usd(2_903.83) },
      },
    });
  });

  test("pay a pool once for all pushes", () => {
    const tariff = parseTariff('{"perGigabyte":10,"pool":{"sims":1000,"gigabytes":10,"price":50}}');
    const { pushes, total } = priceSavings(
      Array.from({ length: 3 }, () => ({ full: 5e6, delta: 1e6 })),
      1_000,
      tariff,
    );
    expect(pushes.map(({ full }) => full.amount)).toEqual([50, 50, 50]);
    expect(total.money.full.amount).toBe(100);
  });
});

describe("a tariff", () => {
  test.each(["", "abc", "-1", "{", "[]", '{"perGigabyte":"1"}', '{"price":1}', "null", '"24"'])(
    "written %j is refused",
    (text) => {
      expect(() => parseTariff(text)).toThrow(expect.objectContaining({ name: "TariffError", code: "TARIFF_INVALID" }));
    },
  );
});
