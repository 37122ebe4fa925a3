// What events mean: one release per push, the next attempt for a tag that moved back, nothing for the rest.
import { describe, expect, test } from "vitest";
import {
  decideIntake,
  mayLag,
  releaseIdOf,
  releaseKey,
  resolveProduct,
  type IntakeFacts,
} from "../../../src/core/release/intake.ts";
import type { TriggerEvent } from "../../../src/core/release/trigger-event.ts";
import { sampleConfig } from "../../support/config.ts";

const D1 = `sha256:${"1".repeat(64)}` as const;
const D2 = `sha256:${"2".repeat(64)}` as const;
const event: TriggerEvent = {
  source: "acr-webhook",
  eventId: "e1",
  registry: "127.0.0.1:5000",
  repository: "team/detector",
  tag: "2",
  digest: D2,
};

describe("resolveProduct", () => {
  const config = sampleConfig();

  test("finds the product of a push, also where the source does not name the registry", () => {
    expect(resolveProduct(config, event)).toMatchObject({ product: { name: "detector" }, tag: "2" });
    const { registry: _registry, ...anonymous } = event;
    expect(resolveProduct(config, anonymous)).toMatchObject({ product: { name: "detector" } });
  });

  test.each([
    ["an unknown repository", { repository: "team/other" }, /no product has repository/],
    ["another registry", { registry: "elsewhere:5000" }, /no product has repository/],
    ["Lighter's own tag", { tag: "iot-2" }, /Lighter's own tags/],
  ])("ignores %s with a reason", (_what, change, reason) => {
    expect(resolveProduct(config, { ...event, ...change })).toMatchObject({ ignored: expect.stringMatching(reason) });
  });

  test("ignores a push by digest alone", () => {
    const { tag: _tag, ...untagged } = event;
    expect(resolveProduct(config, untagged)).toMatchObject({ ignored: expect.stringMatching(/without a tag/) });
  });

  test("matches the tag pattern as a whole", () => {
    const [product] = config.products;
    const strict = { ...config, products: [{ ...product!, tags: "\\d+" }] };
    expect(resolveProduct(strict, { ...event, tag: "2" })).toMatchObject({ tag: "2" });
    expect(resolveProduct(strict, { ...event, tag: "2-rc" })).toMatchObject({
      ignored: expect.stringMatching(/match/),
    });
  });
});

describe("decideIntake", () => {
  const key = releaseKey(sampleConfig().products[0]!, D2);
  const facts: IntakeFacts = {
    digest: D2,
    currentDigest: D2,
    fresh: false,
    head: undefined,
    attempts: 0,
    finished: false,
    overtaken: false,
    rerun: false,
  };
  const first = releaseIdOf(key, 1);

  test("a release's name tells product, content and attempt", () => {
    expect(first).toMatch(/^detector-[0-9a-f]{12}-1$/);
    expect(releaseKey(sampleConfig().products[0]!, D1)).not.toBe(key);
  });

  test("opens the first attempt of what was never seen", () => {
    expect(decideIntake(key, facts)).toMatchObject({ kind: "open", releaseId: first, attempt: 1 });
  });

  test("completes an intake that was cut off after it moved the tag's head", () => {
    expect(decideIntake(key, { ...facts, head: { digest: D2, releaseId: first } })).toMatchObject({
      kind: "open",
      releaseId: first,
    });
  });

  test.each([false, true])("gives the same push the release it has (finished: %s)", (finished) => {
    const again = { ...facts, head: { digest: D2, releaseId: first }, attempts: 1, finished };
    expect(decideIntake(key, again)).toMatchObject({ kind: "existing", releaseId: first });
  });

  test.each([true, false])("opens a second attempt for a tag that moved back (first over: %s)", (finished) => {
    const head = { digest: D1, releaseId: "detector-other-1" };
    const back = { ...facts, head, attempts: 1, finished, overtaken: true };
    expect(decideIntake(key, back)).toMatchObject({ kind: "open", releaseId: releaseIdOf(key, 2), attempt: 2 });
  });

  test.each([true, false])("leaves a release alone that a second tag catches up with (over: %s)", (finished) => {
    const behind = { ...facts, head: { digest: D1, releaseId: "detector-other-1" }, attempts: 1, finished };
    expect(decideIntake(key, behind)).toMatchObject({ kind: "existing", releaseId: first });
  });

  test("believes a young push before replicas show it", () => {
    const lagging = { ...facts, currentDigest: D1, fresh: true };
    expect(decideIntake(key, lagging)).toMatchObject({ kind: "open", releaseId: first });
    expect(decideIntake(key, { ...lagging, currentDigest: undefined })).toMatchObject({ kind: "open" });
    expect(mayLag("2026-01-01T00:00:00Z", "2026-01-01T00:09:59Z")).toBe(true);
    expect(mayLag("2026-01-01T00:00:00Z", "2026-01-01T00:10:00Z")).toBe(false);
  });

  test("does not release again what another tag already released", () => {
    expect(decideIntake(key, { ...facts, attempts: 1, finished: true })).toMatchObject({ kind: "existing" });
  });

  test("ignores late news of a tag that has moved on", () => {
    expect(decideIntake(key, { ...facts, currentDigest: D1 })).toMatchObject({ kind: "ignore" });
    expect(decideIntake(key, { ...facts, currentDigest: undefined })).toMatchObject({ kind: "ignore" });
  });

  test("reruns what is over, and never what is running", () => {
    const over = { ...facts, head: { digest: D2, releaseId: first }, attempts: 1, finished: true, rerun: true };
    expect(decideIntake(key, over)).toMatchObject({ kind: "open", attempt: 2 });
    expect(decideIntake(key, { ...over, finished: false })).toMatchObject({ kind: "existing", releaseId: first });
  });
});
