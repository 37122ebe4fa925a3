// Tables of facts on terminals that are wide enough, and on those that are not.
import { expect, test } from "vitest";
import { renderFacts, type Fact } from "../../src/cli/facts-table.ts";
import { createPaint } from "../../src/cli/paint.ts";

const paint = createPaint({});
const digest = `sha256:${"0".repeat(64)}`;
const facts: readonly Fact[] = [
  ["image", `fleet/app:1\n${digest}`],
  ["state", "completed"],
];

test("frames what fits, and whatever nobody looks at", async () => {
  expect(await renderFacts(facts, paint, 100)).toContain("┌");
  expect(await renderFacts(facts, paint, undefined)).toContain("┌");
});

test("writes plain aligned lines with whole digests where a frame would break", async () => {
  expect(await renderFacts(facts, paint, 80)).toBe(`image  fleet/app:1\n       ${digest}\nstate  completed`);
});
