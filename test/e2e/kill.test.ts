// `kill -9` of the functions host at seeded moments of releases and rollouts: each resumes and ends as if undisturbed.
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CALM_BEHAVIOUR } from "../../local/edge-device/accounted-behaviour.ts";
import type { AccountedFleet } from "../../local/edge-device/accounted-fleet.ts";
import { HUB_NAME } from "../../local/stack.ts";
import { createDirectEngine } from "../../src/adapters/direct-engine/index.ts";
import { createFolderCache } from "../../src/adapters/index-cache/folder.ts";
import { createIotHub } from "../../src/adapters/iot-hub/index.ts";
import { createRegistries } from "../../src/adapters/registry/index.ts";
import { createDocumentStore } from "../../src/adapters/storage/documents.ts";
import type { ReleaseView } from "../../src/core/release/view.ts";
import type { Ledger } from "../../src/core/rollout/ledger.ts";
import type { IotHub } from "../../src/ports/iot-hub.ts";
import type { RebaseSummary } from "../../src/ports/rebase-engine.ts";
import { count } from "../counts.ts";
import { countHubCalls, drawRounds, reachMoment, type Round, type Span } from "../support/kill-moments.ts";
import { createStackFixture, REPOSITORY, type StackFixture } from "../support/stack-fixture.ts";

const SEED = 20_261_120;
const DEVICES = 100;
const TIME_SCALE = 3_000;

/** Where the same candidates are rebased without being disturbed; no product has this repository. */
const UNDISTURBED = "undisturbed/detector";

/** A host that is down for a second lets an hour of this clock pass, which no timeout may mistake for a bad image. */
const GATE = { successPercent: 100, failurePercent: 10, bakeMinutes: 10, timeoutMinutes: 100_000 };

const registries = createRegistries();
let fixture: StackFixture;
let fleet: AccountedFleet;
let hub: IotHub;
let version = 1;

beforeAll(async () => {
  fixture = await createStackFixture({ timeScale: TIME_SCALE, rollout: { gate: GATE } });
  fleet = fixture.addFleet(DEVICES, CALM_BEHAVIOUR);
  hub = createIotHub({ name: HUB_NAME, connection: fixture.stack.hub.connectionString, devicesPerSecond: 1_000 });
  await fixture.stack.call("POST", "products/detector/baseline", { absent: true });
  await fixture.push(await fixture.build(version), "1");
  const { state, reason } = await fixture.finished("1");
  if (state !== "completed") throw new Error(`the first release ended ${state}: ${reason}`);
});

afterAll(async () => {
  await fixture?.close();
  await registries.close();
});

async function readLedger(): Promise<Ledger> {
  const store = createDocumentStore<Ledger>({ connectionString: fixture.stack.storage }, "lighterledgers");
  const found = await store.get("detector", HUB_NAME);
  if (found === undefined) throw new Error("no ledger");
  return found.value;
}

/** Rebases the candidate onto what the fleet holds, beside the stack's own repository. */
async function rebaseUndisturbed(tag: string, anchor: string): Promise<RebaseSummary> {
  const engine = createDirectEngine({ registries, cache: createFolderCache(join(fixture.folder, "undisturbed")) });
  const { host } = fixture.stack.registry;
  return engine.rebase({
    anchor,
    candidate: `${host}/${UNDISTURBED}:${tag}`,
    target: `${host}/${UNDISTURBED}:iot-${tag}`,
    platform: "linux/amd64",
  });
}

/**
 * Hands a push over by hand when its webhook found the host dead: these webhooks are tried once, so one that is lost is
 * brought back by an operator or a timer that asks for the tag, and neither may open a second release. Tells whether it was.
 */
async function ensureDelivered(tag: string): Promise<boolean> {
  const { webhooks, host } = fixture.stack.registry;
  const pushed = `${REPOSITORY}:${tag}`;
  const { status } = await fixture.until("the webhook", async () =>
    webhooks.deliveries().find(({ subjects }) => subjects.includes(pushed)),
  );
  if (status === 202) return true;
  const answer = await fixture.stack.call("POST", "releases", { image: `${host}/${REPOSITORY}:${tag}` });
  expect(answer.status).toBe(202);
  return false;
}

/** What a round left behind, besides what the API shows of it. */
interface Ended {
  readonly release: ReleaseView;
  readonly expected: RebaseSummary;
  readonly anchor: string;
  readonly span: Span;
  readonly reached: readonly string[];
}

async function runRound({ crashes, moments }: Round, span: Span): Promise<Ended> {
  version += 1;
  const tag = String(version);
  const { stack } = fixture;
  const image = await fixture.build(version);
  const { anchor = "" } = await readLedger();
  await fixture.push(image, tag, UNDISTURBED);
  const expected = await rebaseUndisturbed(tag, anchor);
  if (crashes) fleet.changeImage(expected.result.digest, { crashLoop: { rate: 1, afterMs: 5_000 } });

  stack.hub.resetCalls();
  const startedAtMs = performance.now();
  const pushed = fixture.push(image, tag);
  const reached: string[] = [];
  for (const moment of moments) {
    const reachedNow = await reachMoment(fixture, moment, { tag, crashes, startedAtMs, span });
    await stack.host.kill();
    await stack.host.restart();
    await pushed;
    reached.push((await ensureDelivered(tag)) ? reachedNow : `${reachedNow} (webhook lost)`);
  }
  await pushed;
  const release = await fixture.finished(tag);
  const taken = { wallMs: performance.now() - startedAtMs, hubCalls: countHubCalls(fixture) };
  return { release, expected, anchor, span: taken, reached };
}

/** The part of the end that must not depend on any kill. */
async function expectUndisturbedEnd({ release, expected, anchor }: Ended, crashes: boolean): Promise<void> {
  const { id, tag } = release;
  const { stack } = fixture;
  const state = crashes ? "rolled-back" : "completed";
  expect(release).toMatchObject({
    state,
    attempt: 1,
    anchor,
    image: { mode: "rebased", verified: "exact", digest: expected.result.digest },
  });
  const stages = release.rollouts[HUB_NAME]?.stages ?? [];
  expect(stages.map((stage) => [stage.ring, stage.state])).toEqual(
    crashes ? [["canary", "failed"]] : ["canary", "early", "fleet"].map((ring) => [ring, "passed"]),
  );
  const times = stages.flatMap(({ enteredAt, finishedAt = "" }) => [enteredAt, finishedAt]);
  expect(times).toEqual(times.toSorted());

  // One release, and the same push by hand changes nothing.
  const again = await stack.call("POST", "releases", { image: `${stack.registry.host}/${REPOSITORY}:${tag}` });
  expect(again.body).toMatchObject({ outcome: "existing", releaseId: id });
  expect((await fixture.releases()).filter((other) => other.tag === tag).map((other) => other.id)).toEqual([id]);

  // One rebased tag, exact in the registry itself.
  const repository = registries.open(stack.registry.host, REPOSITORY);
  expect((await repository.getManifest(`iot-${tag}`)).digest).toBe(expected.result.digest);
  const tags: string[] = [];
  for await (const other of repository.listTags()) if (other.endsWith(tag)) tags.push(other);
  expect(tags.filter((other) => /^\D*(\d+)$/.exec(other)?.[1] === tag).sort()).toEqual([tag, `iot-${tag}`]);
  const { verified } = await createDirectEngine({ registries }).verify({
    result: `${stack.registry.host}/${REPOSITORY}:iot-${tag}`,
    candidate: `${stack.registry.host}/${REPOSITORY}:${tag}`,
    anchor,
  });
  expect(verified).toBe("exact");

  // One configuration, above all others, and a ledger that is free and agrees with the hub.
  const lighters = (await hub.deployments.list()).filter(({ labels }) => labels["createdBy"] === "lighter");
  const own = lighters.filter(({ labels }) => labels["release"] === id);
  expect(own.map((deployment) => deployment.id)).toEqual([crashes ? `lighter-${id}-rollback` : `lighter-${id}`]);
  expect(Math.max(...lighters.map(({ priority }) => priority))).toBe(own[0]?.priority);
  expect(new Set(lighters.map(({ priority }) => priority)).size).toBe(lighters.length);
  const ledger = await readLedger();
  expect(ledger.active).toBeUndefined();
  expect(ledger.live.map((deployment) => deployment.id).sort()).toEqual(lighters.map(({ id: other }) => other).sort());

  // The fleet runs the new image, or never left the old one beyond the canaries.
  const runs = crashes ? anchor : release.image?.reference;
  expect(ledger.anchor).toBe(runs);
  const { modulesByImage, bytesByImage } = fleet.totals();
  expect(modulesByImage).toEqual({ [runs ?? ""]: { running: DEVICES } });
  if (crashes) {
    const canaries = stages[0]?.counts?.expected ?? 0;
    expect(release.rollouts[HUB_NAME]?.rollback).toMatchObject({ state: "complete", to: anchor, expected: canaries });
    expect(bytesByImage[release.image?.reference ?? ""]).toBe(canaries * (release.sizes?.updateBytes ?? 0));
  }
}

describe("a functions host that is killed", () => {
  const rounds = drawRounds(SEED, count("hostKills"));

  test(`resumes at ${count("hostKills")} moments and ends as if undisturbed`, { timeout: 600_000 }, async () => {
    const unknown: Span = { wallMs: 0, hubCalls: 0 };
    const calm = await runRound({ crashes: false, moments: [] }, unknown);
    await expectUndisturbedEnd(calm, false);
    const crashed = await runRound({ crashes: true, moments: [] }, unknown);
    await expectUndisturbedEnd(crashed, true);

    const killed: string[] = [];
    const startedAtMs = performance.now();
    for (const round of rounds) {
      const ended = await runRound(round, (round.crashes ? crashed : calm).span);
      await expectUndisturbedEnd(ended, round.crashes);
      killed.push(...ended.reached);
    }
    expect(killed).toHaveLength(count("hostKills"));
    const seconds = (performance.now() - startedAtMs) / 1_000;
    process.stderr.write(
      `${killed.length} kills in ${rounds.length} releases, ${(seconds / killed.length).toFixed(1)} s each: ${killed.join(", ")}\n`,
    );
    await fixture.stack.host.close();
    expectNoTrace(join(fixture.folder, "functions-host.sqlite"));
  });
});

/** Reads the host's history: every orchestration ran to its end, and nothing waits to be done. */
function expectNoTrace(file: string): void {
  const database = new DatabaseSync(file, { readOnly: true });
  const states = database.prepare("SELECT status, count(*) AS instances FROM instances GROUP BY status").all();
  expect(states.map(({ status }) => status)).toEqual(["Completed"]);
  for (const table of ["activities", "inbox", "timers"]) {
    expect([table, database.prepare(`SELECT count(*) AS rest FROM ${table}`).get()]).toEqual([table, { rest: 0 }]);
  }
  database.close();
}
