// What becomes of a plan by a product's rules for drift and for deltas that do not pay.
import { describe, expect, test } from "vitest";
import { findAnswer, decisiveCommand } from "../../../src/core/release/commands.ts";
import { judgePlan, type JudgedPlan } from "../../../src/core/release/plan-verdict.ts";

const rules = { onDrift: { dependencies: "hold", system: "reject" }, wholeAbovePercent: 90 } as const;
const plan = (facts: Partial<JudgedPlan> & { class?: JudgedPlan["drift"]["class"] }): JudgedPlan => ({
  outcome: "rebase",
  drift: { class: facts.class ?? "model", packages: [{ name: "numpy" }] },
  bytes: { full: 1_000, delta: 10 },
  ...facts,
});

describe("judgePlan", () => {
  test("releases what no rule names", () => {
    expect(judgePlan(rules, plan({}))).toEqual({});
    expect(judgePlan(rules, plan({ class: "code" }))).toEqual({});
  });

  test("holds and rejects by class, naming packages", () => {
    expect(judgePlan(rules, plan({ class: "dependencies" }))).toEqual({
      gate: { kind: "hold", reason: "drift of class dependencies (numpy)" },
    });
    expect(judgePlan(rules, plan({ class: "system" })).gate?.kind).toBe("reject");
  });

  test("names three packages and counts the rest", () => {
    const packages = ["a", "b", "c", "d", "e"].map((name) => ({ name }));
    const { gate } = judgePlan(rules, plan({ drift: { class: "dependencies", packages } }));
    expect(gate?.reason).toBe("drift of class dependencies (a, b, c and 2 more)");
  });

  test("asks nobody about a candidate that changes nothing", () => {
    expect(judgePlan({ ...rules, onDrift: { none: "reject" } }, plan({ outcome: "nothing", class: "none" }))).toEqual(
      {},
    );
  });

  test("ships the whole image where a delta would save next to nothing, with the numbers", () => {
    expect(judgePlan(rules, plan({ bytes: { full: 1_000, delta: 901 } })).whole).toMatch(/901 of 1000 bytes/);
    expect(judgePlan(rules, plan({ bytes: { full: 1_000, delta: 900 } })).whole).toBeUndefined();
    expect(judgePlan(rules, plan({ class: "dependencies", bytes: { full: 10, delta: 10 } }))).toHaveProperty("gate");
  });
});

describe("commands", () => {
  const at = "2026-01-01T00:00:00.000Z";

  test("a rejection outranks an approval, and neither ends a release that runs", () => {
    expect(findAnswer([{ kind: "approve", at }])?.kind).toBe("approve");
    expect(
      findAnswer([
        { kind: "approve", at },
        { kind: "reject", at },
      ])?.kind,
    ).toBe("reject");
    expect(findAnswer([{ kind: "abort", at }])).toBeUndefined();
    expect(
      decisiveCommand([
        { kind: "approve", at },
        { kind: "reject", at },
      ]),
    ).toBeUndefined();
    expect(
      decisiveCommand([
        { kind: "abort", at },
        { kind: "rollback", at },
      ])?.kind,
    ).toBe("rollback");
  });
});
