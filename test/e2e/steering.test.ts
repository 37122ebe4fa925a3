// Newer pushes and operators' commands change what a running release does, at once and safely.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CALM_BEHAVIOUR, createSeededBehaviour, type Behaviour } from "../../local/edge-device/accounted-behaviour.ts";
import type { AccountedFleet } from "../../local/edge-device/accounted-fleet.ts";
import { createDocumentStore } from "../../src/adapters/storage/documents.ts";
import type { ReleaseCommand } from "../../src/core/release/commands.ts";
import type { ReleaseView } from "../../src/core/release/view.ts";
import { createHubOperator, type HubOperator } from "../support/hub-operator.ts";
import { createProductLine, type ProductLine } from "../support/product-line.ts";
import { createStackFixture, type StackFixture } from "../support/stack-fixture.ts";

const GATE = { successPercent: 90, failurePercent: 10, bakeMinutes: 10, timeoutMinutes: 1_440 };
const RINGS = [
  { name: "canary", slots: "00-09" },
  { name: "fleet", slots: "10-99" },
];
const RULES = { rings: RINGS, gate: GATE };
/** A ring that bakes for a day, and is looked at twice a day: 36 seconds of the wall clock between two looks. */
const PATIENT = { rings: RINGS, gate: { ...GATE, bakeMinutes: 1_440 }, pollSeconds: 43_200 };
const PROMPT_SECONDS = 10;

let fixture: StackFixture;
let fleet: AccountedFleet;
let operator: HubOperator;
const crashing = new Set<string>();

beforeAll(async () => {
  fixture = await createStackFixture({
    products: {
      newer: { rings: RINGS, gate: { ...GATE, bakeMinutes: 30 }, pollSeconds: 60 },
      unlucky: { rings: RINGS, gate: { ...GATE, bakeMinutes: 30 }, pollSeconds: 60 },
      stopped: PATIENT,
      recalled: PATIENT,
      early: RULES,
      deaf: { rings: RINGS, gate: { ...GATE, bakeMinutes: 1_440 }, pollSeconds: 300 },
      left: RULES,
      right: RULES,
    },
  });
  const calm = createSeededBehaviour({ seed: 1, table: CALM_BEHAVIOUR });
  const behaviour: Behaviour = {
    isOfflineForever: () => false,
    decide(traits) {
      const crashes = crashing.has(traits.image.split("@")[0] ?? "");
      return { ...calm.decide(traits), crashAfterMs: crashes ? 5_000 : undefined };
    },
  };
  fleet = fixture.addFleet(60, behaviour);
  operator = createHubOperator(fixture.stack.hub.connectionString);
});

afterAll(async () => {
  await fixture?.close();
});

async function deliver(line: ProductLine, version: number): Promise<ReleaseView> {
  await line.startFromNothing();
  await line.push(await fixture.build(version), "1");
  const release = await line.finished("1");
  expect(release).toMatchObject({ state: "completed" });
  return release;
}

/** Pushes a first version whose first ring then bakes for long. */
async function startBaking(line: ProductLine, version: number): Promise<ReleaseView> {
  await line.startFromNothing();
  await line.push(await fixture.build(version), "1");
  return line.inRing("1", 0);
}

const configurationIds = async (line: ProductLine): Promise<string[]> =>
  (await operator.configurations())
    .filter(({ labels }) => labels?.["product"] === line.name)
    .map(({ id }) => id)
    .sort();

const imagesOnFleet = async (line: ProductLine): Promise<Set<string | undefined>> =>
  new Set([...(await operator.agents(fleet.deviceIds, line.name)).values()].map(({ image }) => image));

describe.concurrent("a newer push", () => {
  test("supersedes the release that is in its first ring, and retires its deployment when it is through", async () => {
    const line = createProductLine(fixture, "newer");
    await deliver(line, 10);
    await line.push(await fixture.build(11), "2");
    const second = await line.inRing("2", 0);
    await line.push(await fixture.build(12), "3");
    const third = await line.finished("3");
    const superseded = await line.finished("2");
    expect(superseded).toMatchObject({ state: "superseded", reason: expect.stringContaining(third.id) });
    expect(superseded.rollouts["main"]?.stages).toHaveLength(1);
    expect(third).toMatchObject({ state: "completed" });
    expect(third.rollouts["main"]?.priority).toBeGreaterThan(second.rollouts["main"]?.priority ?? Infinity);
    expect(await imagesOnFleet(line)).toEqual(new Set([third.image?.reference]));
    const ids = await configurationIds(line);
    expect(ids).toContain(third.rollouts["main"]?.configurationId);
    expect(ids).not.toContain(superseded.rollouts["main"]?.configurationId);
  });

  test("that crashes after it superseded another takes back what either exposed", async () => {
    const line = createProductLine(fixture, "unlucky");
    const first = await deliver(line, 20);
    await line.push(await fixture.build(21), "2");
    await line.when("2", "running canaries", ({ rollouts }) =>
      rollouts["main"]?.stages[0]?.state === "baking" ? true : undefined,
    );
    crashing.add(`${line.at}:iot-3`);
    await line.push(await fixture.build(22), "3");
    const third = await line.finished("3");
    const second = await line.finished("2");
    expect([second.state, third.state]).toEqual(["superseded", "rolled-back"]);
    expect(third.rollouts["main"]?.rollback).toMatchObject({ state: "complete", to: first.image?.reference });
    expect(await imagesOnFleet(line)).toEqual(new Set([first.image?.reference]));
    const ids = await configurationIds(line);
    for (const release of [second, third]) expect(ids).not.toContain(release.rollouts["main"]?.configurationId);
  });
});

describe.concurrent("an operator's command", () => {
  test("stops a release long before its next look, and leaves devices as they are", async () => {
    const line = createProductLine(fixture, "stopped");
    const release = await startBaking(line, 30);
    expect(await line.command(release, "abort", { reason: "wrong model" })).toMatchObject({ status: 202 });
    const over = await line.finished("1", PROMPT_SECONDS);
    expect(over).toMatchObject({ state: "aborted", reason: expect.stringContaining("wrong model") });
    expect(await configurationIds(line)).toEqual([release.rollouts["main"]?.configurationId]);
    const again = await line.command(release, "rollback");
    expect(again).toMatchObject({ status: 409, body: { title: "RELEASE_OVER", status: 409 } });
  });

  test("takes a release back long before its next look", async () => {
    const line = createProductLine(fixture, "recalled");
    const release = await startBaking(line, 40);
    expect(await line.command(release, "rollback", { reason: "bad numbers" })).toMatchObject({ status: 202 });
    const back = await line.when("1", "rollback", (seen) => seen.rollouts["main"]?.rollback && seen, PROMPT_SECONDS);
    expect(back).toMatchObject({ state: "rolling-back" });
    expect(back.rollouts["main"]?.rollback).toMatchObject({
      slots: "00-09",
      reason: expect.stringContaining("bad numbers"),
    });
  });

  test("ends a release before it exposes anything", async () => {
    const line = createProductLine(fixture, "early");
    await line.startFromNothing();
    await line.push(await fixture.build(50), "1");
    const release = await line.when("1", "acceptance", (seen) => seen);
    expect(await line.command(release, "rollback")).toMatchObject({ status: 202 });
    const over = await line.finished("1");
    expect(over).toMatchObject({ state: expect.stringMatching(/^(aborted|rolled-back)$/) });
    if (over.state === "aborted") expect(over.rollouts["main"]?.stages ?? []).toEqual([]);
    expect(await line.command({ id: "early-000000000000-1" }, "abort")).toMatchObject({
      status: 404,
      body: { title: "RELEASE_UNKNOWN", status: 404 },
    });
  });

  test("is obeyed although the event that should wake the release was lost", async () => {
    const line = createProductLine(fixture, "deaf");
    const release = await startBaking(line, 60);
    const commands = createDocumentStore<ReleaseCommand>(
      { connectionString: fixture.stack.storage },
      "lightercommands",
    );
    const at = new Date().toISOString();
    await commands.insert(release.id, `${at}-abort`, { kind: "abort", at, reason: "said to nobody" });
    expect(await line.finished("1")).toMatchObject({
      state: "aborted",
      reason: expect.stringContaining("said to nobody"),
    });
  });
});

test("two products on one hub are rolled out side by side, each below its own priorities", async () => {
  const lines = [createProductLine(fixture, "left"), createProductLine(fixture, "right")];
  await Promise.all(lines.map((line) => line.startFromNothing()));
  await Promise.all(lines.map(async (line, index) => line.push(await fixture.build(70 + index), "1")));
  const releases = await Promise.all(lines.map((line) => line.finished("1")));
  for (const [index, line] of lines.entries()) {
    expect(releases[index]).toMatchObject({ state: "completed" });
    expect(await imagesOnFleet(line)).toEqual(new Set([releases[index]?.image?.reference]));
  }
  const begun = releases.map(({ steps }) => steps["rollout"]);
  expect(begun[0]?.startedAt && begun[1]?.finishedAt && begun[0].startedAt < begun[1].finishedAt).toBe(true);
  expect(begun[1]?.startedAt && begun[0]?.finishedAt && begun[1].startedAt < begun[0].finishedAt).toBe(true);
  const priorities = (await operator.configurations())
    .filter(({ id }) => id !== "base")
    .map(({ priority = 0, createdTimeUtc = "" }) => ({ priority, createdTimeUtc }))
    .toSorted((a, b) => a.priority - b.priority);
  expect(new Set(priorities.map(({ priority }) => priority)).size).toBe(priorities.length);
});
