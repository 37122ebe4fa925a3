// A push becomes a staged deployment: the whole backend on the embedded stack, over HTTP alone.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CALM_BEHAVIOUR } from "../../local/edge-device/accounted-behaviour.ts";
import { createStackFixture, REPOSITORY, type StackFixture } from "../support/stack-fixture.ts";

let fixture: StackFixture;

beforeAll(async () => {
  fixture = await createStackFixture();
  fixture.addFleet(200, CALM_BEHAVIOUR);
});

afterAll(async () => {
  await fixture?.close();
});

describe("a product's life", () => {
  test("a release without a known way back is refused, saying how to capture one", async () => {
    await fixture.push(await fixture.build(1), "0");
    const release = await fixture.finished("0");
    expect(release).toMatchObject({ state: "refused", reason: expect.stringContaining("lighter baseline detector") });
  });

  test("the first image is released whole, ring after ring", async () => {
    expect((await fixture.stack.call("POST", "products/detector/baseline", { absent: true })).status).toBe(200);
    await fixture.push(await fixture.build(1), "1");
    const { body } = await fixture.stack.call("POST", "releases", {
      image: `${fixture.stack.registry.host}/${REPOSITORY}:1`,
      rerun: true,
    });
    expect(body).toMatchObject({ outcome: "opened" });
    const release = await fixture.finished("1");
    expect(release).toMatchObject({ state: "completed", image: { mode: "full" } });
  });

  test("the next push is rebased and reaches the fleet for the delta alone", async () => {
    await fixture.push(await fixture.build(2), "2");
    const release = await fixture.finished("2");
    expect(release).toMatchObject({ state: "completed", image: { mode: "rebased", verified: "exact" } });
  });
});
