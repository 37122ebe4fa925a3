// The configuration file: its defaults, its schema, and the words with which it is refused.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { gateOf } from "../../src/core/config.ts";
import { configSchema, parseConfig } from "../../src/core/config-schema.ts";
import { rawConfig, sampleConfig } from "../support/config.ts";

const parse = (change: (raw: ReturnType<typeof rawConfig>) => void): (() => unknown) => {
  const raw = rawConfig();
  change(raw);
  return () => parseConfig(JSON.stringify(raw), "test.json");
};

describe("parseConfig", () => {
  test("fills in rings, gate, priorities and tariff", () => {
    const [product] = sampleConfig().products;
    expect(product?.rollout.rings.map(({ name }) => name)).toEqual(["canary", "early", "fleet"]);
    expect(product?.rollout.gate.successPercent).toBe(95);
    expect(sampleConfig().hubs[0]?.priorities).toEqual({ from: 10_000, to: 19_999 });
    expect(sampleConfig().tariff.perGigabyte).toBe(24);
  });

  test("lets a ring change single rules of its gate and keeps the product's others", () => {
    const raw = rawConfig();
    raw.products[0]!.rollout = {
      hubs: ["main"],
      gate: { successPercent: 80, bakeMinutes: 7 },
      rings: [{ name: "all", slots: "00-99", gate: { bakeMinutes: 1 } }],
    };
    const { rollout } = configSchema.parse(raw).products[0]!;
    expect(gateOf(rollout, 0)).toMatchObject({ successPercent: 80, bakeMinutes: 1, failurePercent: 5 });
  });

  test("names the file when the text is not JSON", () => {
    expect(() => parseConfig("{", "test.json")).toThrowError(/read configuration test\.json.*want JSON/);
  });

  test.each([
    ["an unknown key", (raw: ReturnType<typeof rawConfig>) => (raw["extra"] = 1), /extra/],
    ["a hub that is not defined", (raw) => (raw.products[0]!.rollout["hubs"] = ["other"]), /no hub is named other/],
    ["a repeated product", (raw) => raw.products.push(raw.products[0]!), /repeats detector/],
    [
      "rings that share a slot",
      (raw) =>
        (raw.products[0]!.rollout["rings"] = [
          { name: "a", slots: "00-10" },
          { name: "b", slots: "10-20" },
        ]),
      /ring b shares slot 10 with ring a/,
    ],
    [
      "an empty ring",
      (raw) => (raw.products[0]!.rollout["rings"] = [{ name: "a", slots: "20-10" }]),
      /ring a is empty/,
    ],
    ["a bad tag pattern", (raw) => (raw.products[0]!["tags"] = "("), /a regular expression/],
    ["a percentage over 100", (raw) => (raw.products[0]!.rollout["gate"] = { successPercent: 101 }), /successPercent/],
    ["a module name with spaces", (raw) => (raw.products[0]!["module"] = { name: "a b" }), /module\.name/],
    [
      "a priority band upside down",
      (raw) => (raw.hubs[0]!["priorities"] = { from: 9, to: 3 }),
      /from must be below to/,
    ],
  ] satisfies [string, (raw: ReturnType<typeof rawConfig>) => unknown, RegExp][])(
    "refuses %s, saying where",
    (_what, change, message) => {
      expect(parse(change)).toThrowError(message);
    },
  );

  test("the published JSON schema is the one in force", () => {
    const published = JSON.parse(readFileSync("docs/lighter.schema.json", "utf8")) as unknown;
    expect(published).toEqual(JSON.parse(JSON.stringify(z.toJSONSchema(configSchema, { io: "input" }))));
  });
});
