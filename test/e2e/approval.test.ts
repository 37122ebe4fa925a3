// Drift policies over HTTP: a held release waits for its answer, and each answer ends the wait at once.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CALM_BEHAVIOUR } from "../../local/edge-device/accounted-behaviour.ts";
import type { ReleaseView } from "../../src/core/release/view.ts";
import { createStackFixture, type StackFixture } from "../support/stack-fixture.ts";

let fixture: StackFixture;

beforeAll(async () => {
  fixture = await createStackFixture({ product: { onDrift: { config: "hold" } } });
  fixture.addFleet(50, CALM_BEHAVIOUR);
  await fixture.stack.call("POST", "products/detector/baseline", { absent: true });
  await fixture.push(await fixture.build(1), "1");
  await fixture.finished("1");
});

afterAll(async () => {
  await fixture?.close();
});

const held = (tag: string): Promise<ReleaseView> =>
  fixture.until(`release ${tag} to be held`, async () =>
    (await fixture.releases()).find((release) => release.tag === tag && release.state === "held"),
  );

describe("a candidate whose settings changed", () => {
  test("is held, says why, and goes on once it is approved", async () => {
    await fixture.push(await fixture.build(2), "2");
    const release = await held("2");
    expect(release.reason).toBe("drift of class config; approve or reject it");
    expect(release.rollouts).toEqual({});
    expect((await fixture.stack.call("POST", `releases/${release.id}/approve`, { reason: "fine" })).status).toBe(202);
    const done = await fixture.finished("2");
    expect(done).toMatchObject({ state: "completed", image: { mode: "rebased", verified: "exact" } });
    expect(done.steps["approval"]).toMatchObject({ finishedAt: expect.any(String) });
  });

  test("ends as rejected, with the words of whoever rejected it, and reaches nobody", async () => {
    await fixture.push(await fixture.build(3), "3");
    const { id } = await held("3");
    await fixture.stack.call("POST", `releases/${id}/reject`, { reason: "not on a Friday" });
    const release = await fixture.finished("3");
    expect(release).toMatchObject({ state: "rejected", reason: expect.stringContaining("not on a Friday") });
    expect(release.rollouts).toEqual({});
  });

  test("is not waited for once a newer one was pushed", async () => {
    await fixture.push(await fixture.build(4), "4");
    await held("4");
    await fixture.push(await fixture.build(5), "5");
    const { id } = await held("5");
    await fixture.stack.call("POST", `releases/${id}/abort`, {});
    expect(await fixture.finished("5")).toMatchObject({ state: "aborted" });
    expect(await fixture.finished("4")).toMatchObject({ state: "superseded" });
  });
});
