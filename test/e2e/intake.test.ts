// What comes in from registries and operators: every push has one release, and bad or foreign ones end with a reason.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CALM_BEHAVIOUR } from "../../local/edge-device/accounted-behaviour.ts";
import type { AccountedFleet } from "../../local/edge-device/accounted-fleet.ts";
import type { PushableImage } from "../../local/demo/push-image.ts";
import { forArchitecture, indexOf, withConfigType, withoutBase } from "../support/image-variants.ts";
import { createHubOperator } from "../support/hub-operator.ts";
import { createProductLine, type Outcome, type ProductLine } from "../support/product-line.ts";
import { createStackFixture, type StackFixture } from "../support/stack-fixture.ts";

const GATE = { successPercent: 90, failurePercent: 10, bakeMinutes: 5, timeoutMinutes: 1_440 };
const RULES = { rings: [{ name: "all", slots: "00-99" }], gate: GATE };

let fixture: StackFixture;
let fleet: AccountedFleet;

beforeAll(async () => {
  const names = ["often", "back", "flicker", "foreign", "known", "rebuilt", "arm", "index", "helm", "lagging", "told"];
  fixture = await createStackFixture({ products: Object.fromEntries(names.map((name) => [name, RULES])) });
  fleet = fixture.addFleet(20, CALM_BEHAVIOUR);
});

afterAll(async () => {
  await fixture?.close();
});

async function deliver(line: ProductLine, version: number): Promise<PushableImage> {
  const image = await fixture.build(version);
  await line.startFromNothing();
  await line.push(image, "1");
  expect(await line.finished("1")).toMatchObject({ state: "completed", image: { mode: "full" } });
  return image;
}

/** What ACR posts when `digest` is pushed under `tag`. */
const acrPush = (line: ProductLine, digest: string, tag: string | undefined, minutesAgo = 0): unknown => ({
  id: crypto.randomUUID(),
  timestamp: new Date(fixture.stack.clock.now() - minutesAgo * 60_000).toISOString(),
  action: "push",
  target: {
    mediaType: "application/vnd.docker.distribution.manifest.v2+json",
    digest,
    repository: line.repository,
    ...(tag === undefined ? {} : { tag }),
  },
  request: { host: fixture.stack.registry.host },
});

async function tell(route: "acr" | "registry", body: unknown): Promise<Outcome[]> {
  const answer = await fixture.stack.call("POST", `hooks/${route}`, body);
  expect(answer.status).toBe(202);
  return (answer.body as { outcomes: Outcome[] }).outcomes;
}

describe.concurrent("a push", () => {
  test("that is told ten times at once, and again when it is over, has one release", async () => {
    const line = createProductLine(fixture, "often");
    await line.startFromNothing();
    const image = await fixture.build(100);
    await line.push(image, "1");
    const push = acrPush(line, image.digest, "1");
    const told = (await Promise.all(Array.from({ length: 10 }, () => tell("acr", push)))).flat();
    const [release] = await line.releases();
    expect(told.map(({ releaseId }) => releaseId)).toEqual(Array(10).fill(release?.id));
    expect(told.filter(({ outcome }) => outcome === "opened").length).toBeLessThanOrEqual(1);
    await line.finished("1");
    expect(await tell("acr", push)).toMatchObject([{ outcome: "existing", releaseId: release?.id }]);
    expect(await line.open(":1")).toMatchObject({ outcome: "existing", releaseId: release?.id });
    expect(await line.releases()).toHaveLength(1);
  });

  test("that moves a tag back to an earlier image is a second attempt", async () => {
    const line = createProductLine(fixture, "back");
    const first = await deliver(line, 110);
    await line.push(await fixture.build(111), "1");
    await line.when("1", "second image", ({ digest, finishedAt }) =>
      digest === first.digest ? undefined : finishedAt,
    );
    await line.push(first, "1");
    const again = await line.when("1", "second attempt", (seen) =>
      seen.attempt === 2 && seen.finishedAt ? seen : undefined,
    );
    expect(again).toMatchObject({
      state: "completed",
      digest: first.digest,
      trigger: { why: expect.stringContaining("moved back") },
    });
    expect((await line.releases()).map(({ attempt }) => attempt)).toEqual([1, 1, 2]);
  });

  test("that moves a tag away and back half-way brings devices back to what they had", async () => {
    const line = createProductLine(fixture, "flicker");
    await line.startFromNothing();
    const [first, second] = [await fixture.build(120), await fixture.build(121)];
    await line.push(first, "1");
    await line.finished("1");
    await line.push(second, "1");
    await line.when("1", "exposure to the second", ({ digest, rollouts }) =>
      digest === second.digest && rollouts["main"]?.stages.length ? true : undefined,
    );
    await line.push(first, "1");
    const last = await line.when("1", "the end of the second attempt", (seen) =>
      seen.digest === first.digest && seen.attempt === 2 && seen.finishedAt ? seen : undefined,
    );
    expect(last).toMatchObject({ state: "completed", sizes: { updateBytes: 0 } });
    const operator = createHubOperator(fixture.stack.hub.connectionString);
    const agents = await operator.agents(fleet.deviceIds, line.name);
    expect(new Set([...agents.values()].map(({ image }) => image))).toEqual(new Set([last.image?.reference]));
    for (const release of (await line.releases()).slice(0, -1)) expect(release.finishedAt).toBeDefined();
  });

  test("of Lighter's own tag, of an unknown repository, without a tag, or long gone is ignored with the reason", async () => {
    const line = createProductLine(fixture, "foreign");
    await line.startFromNothing();
    const image = await fixture.build(130);
    await line.push(image, "iot-9");
    const outcomes = [
      await tell("acr", acrPush(line, image.digest, "iot-9")),
      await tell("acr", acrPush({ ...line, repository: "team/nobody" }, image.digest, "1")),
      await tell("acr", acrPush(line, image.digest, undefined)),
      await tell("acr", acrPush(line, image.digest, "gone", 60)),
      [await line.open(`@${image.digest}`)],
    ].flat();
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(Array(5).fill("ignored"));
    expect(outcomes.map(({ reason }) => reason)).toEqual([
      "iot-9 is one of Lighter's own tags",
      expect.stringContaining("no product has repository"),
      expect.stringContaining("without a tag"),
      expect.stringContaining("the tag now points at nothing"),
      expect.stringContaining("without a tag"),
    ]);
    expect(await line.releases()).toEqual([]);
  });

  test("of a known image under another tag has the release it had; a rerun finds that there is nothing to do", async () => {
    const line = createProductLine(fixture, "known");
    const image = await deliver(line, 140);
    const [release] = await line.releases();
    await line.push(image, "stable");
    expect(await tell("acr", acrPush(line, image.digest, "stable"))).toMatchObject([
      { outcome: "existing", releaseId: release?.id },
    ]);
    expect(await line.open(":1", true)).toMatchObject({ outcome: "opened", releaseId: release?.id.replace(/1$/, "2") });
    const again = await line.finished("1");
    expect(again).toMatchObject({ attempt: 2, state: "nothing-to-do", reason: expect.stringMatching(/\w+ \w+/) });
    expect(again.rollouts).toEqual({});
  });

  test("that shares no layer with the fleet's image is released whole, saying so", async () => {
    const line = createProductLine(fixture, "rebuilt");
    await deliver(line, 150);
    await line.push(withoutBase(await fixture.build(151)), "2");
    expect(await line.finished("2")).toMatchObject({
      state: "completed",
      image: { mode: "full", verified: "not-needed", reason: expect.stringMatching(/common|share/) },
    });
  });

  test("for another platform fails with both platforms, first release or not", async () => {
    const line = createProductLine(fixture, "arm");
    await line.startFromNothing();
    await line.push(forArchitecture(await fixture.build(160), "arm64"), "0");
    const first = await line.finished("0");
    expect(first).toMatchObject({ state: "failed", reason: expect.stringMatching(/linux\/arm64.*linux\/amd64/) });
    await line.push(await fixture.build(161), "1");
    await line.finished("1");
    await line.push(forArchitecture(await fixture.build(162), "arm64"), "2");
    const second = await line.finished("2");
    expect(second).toMatchObject({ state: "failed", reason: expect.stringMatching(/linux\/arm64.*linux\/amd64/) });
    expect(second.rollouts).toEqual({});
  });

  test("of an index is released for the product's platform", async () => {
    const line = createProductLine(fixture, "index");
    await deliver(line, 170);
    const image = await fixture.build(171);
    const arm = forArchitecture(image, "arm64");
    await line.push(arm, arm.digest);
    await line.push(image, image.digest);
    const both = indexOf([
      { image: arm, architecture: "arm64" },
      { image, architecture: "amd64" },
    ]);
    await line.push(both, "2");
    expect(await line.finished("2")).toMatchObject({
      state: "completed",
      digest: both.digest,
      image: { mode: "rebased", verified: "exact" },
    });
  });

  test("of what is no image fails, naming its type", async () => {
    const line = createProductLine(fixture, "helm");
    await line.startFromNothing();
    await line.push(withConfigType(await fixture.build(180), "application/vnd.cncf.helm.config.v1+json"), "1");
    expect(await line.finished("1")).toMatchObject({
      state: "failed",
      reason: expect.stringContaining("application/vnd.cncf.helm.config.v1+json"),
    });
  });
});

test("a push that the registry's replicas do not show yet is waited for", async () => {
  const line = createProductLine(fixture, "lagging");
  await deliver(line, 190);
  fixture.stack.registry.replicaLag.set(480_000);
  try {
    await line.push(await fixture.build(191), "1");
    await line.push(await fixture.build(192), "2");
    expect(await line.finished("2")).toMatchObject({ state: "completed", image: { mode: "rebased" } });
  } finally {
    fixture.stack.registry.replicaLag.set(0);
  }
});

test("Docker's registry notifications start releases as well, and their blobs are skipped", async () => {
  const line = createProductLine(fixture, "told");
  await line.startFromNothing();
  const { stack } = fixture;
  stack.registry.webhooks.remove("lighter");
  stack.registry.webhooks.add({
    name: "distribution",
    form: "distribution",
    url: `${stack.host.url}/api/hooks/registry`,
    headers: { "x-functions-key": stack.host.key },
  });
  await line.push(await fixture.build(200), "1");
  expect(await line.finished("1")).toMatchObject({ state: "completed", trigger: { source: "distribution" } });
  expect(stack.registry.webhooks.deliveries().filter(({ target }) => target === "distribution")).toSatisfy(
    (attempts: readonly { status?: number }[]) => attempts.length > 0 && attempts.every(({ status }) => status === 202),
  );
});
