// Configurations through the SDK: creation, etags, immutability, limits, validation, and the service's error classes.
import { describe, expect, test } from "vitest";
import { baseContent, callRest, layerContent, moduleOf, startHub } from "./sdk.ts";

const configuration = (id: string, more: object = {}) => ({
  id,
  schemaVersion: "1.0",
  priority: 1,
  targetCondition: "*",
  labels: { by: "test" },
  content: baseContent(),
  ...more,
});

const refusedWith = (code: string, name?: string): unknown =>
  expect.objectContaining({
    ...(name === undefined ? {} : { name }),
    responseBody: expect.stringContaining(`ErrorCode:${code};`) as string,
  });

describe("a configuration", () => {
  test("is created, shown, listed and removed", async () => {
    const { registry, clock } = await startHub();
    await registry.addConfiguration(configuration("c1"));
    await clock.advance(1_000);
    await registry.addConfiguration(
      configuration("c2", { metrics: { queries: { n: "SELECT deviceId FROM devices" } } }),
    );
    const { responseBody: shown } = await registry.getConfiguration("c2");
    expect(shown).toMatchObject({
      id: "c2",
      labels: { by: "test" },
      priority: 1,
      targetCondition: "*",
      etag: "MQ==",
      content: baseContent(),
      createdTimeUtc: "2026-01-05T08:00:01.000Z",
      lastUpdatedTimeUtc: "2026-01-05T08:00:01.000Z",
      metrics: { queries: { n: "SELECT deviceId FROM devices" }, results: {} },
      systemMetrics: {
        results: { targetedCount: 0, appliedCount: 0, reportedSuccessfulCount: 0, reportedFailedCount: 0 },
        queries: { targetedCount: "select deviceId from devices where capabilities.iotEdge = true" },
      },
    });
    expect((await registry.getConfigurations()).responseBody.map(({ id }) => id)).toEqual(["c1", "c2"]);
    await registry.removeConfiguration("c1");
    await expect(registry.getConfiguration("c1")).rejects.toEqual(refusedWith("ConfigurationNotFound"));
    await expect(registry.removeConfiguration("c1")).rejects.toEqual(refusedWith("ConfigurationNotFound"));
  });

  test("is not created twice, and updated only under its etag or by force", async () => {
    const { registry, clock } = await startHub();
    const { responseBody: first } = await registry.addConfiguration(configuration("c1"));
    await expect(registry.addConfiguration(configuration("c1"))).rejects.toEqual(
      refusedWith("ConfigurationAlreadyExists", "DeviceAlreadyExistsError"),
    );
    await clock.advance(5_000);
    const { responseBody: second } = await registry.updateConfiguration({
      ...first,
      targetCondition: "tags.a='b'",
      priority: 7,
      labels: {},
    });
    expect(second).toMatchObject({
      etag: "Mg==",
      targetCondition: "tags.a='b'",
      priority: 7,
      labels: {},
      createdTimeUtc: first.createdTimeUtc,
      lastUpdatedTimeUtc: "2026-01-05T08:00:05.000Z",
    });
    await expect(registry.updateConfiguration(first)).rejects.toEqual(
      refusedWith("PreconditionFailed", "InvalidEtagError"),
    );
    await registry.updateConfiguration({ ...first, priority: 8 }, true);
    expect((await registry.getConfiguration("c1")).responseBody.priority).toBe(8);
    await expect(registry.updateConfiguration(configuration("c9"), true)).rejects.toEqual(
      refusedWith("ConfigurationNotFound"),
    );
  });

  test("keeps its content: other content is an error, or silently ignored where the hub is set to", async () => {
    const other = baseContent({ m: moduleOf("r/m:2") });
    const strict = await startHub();
    const { responseBody: created } = await strict.registry.addConfiguration(configuration("c1"));
    await expect(strict.registry.updateConfiguration({ ...created, content: other })).rejects.toEqual(
      refusedWith("CannotModifyImmutableConfigurationContent", "ArgumentError"),
    );
    const { content: _content, ...without } = created;
    await expect(strict.registry.updateConfiguration(without)).rejects.toEqual(
      refusedWith("InvalidConfigurationContent", "ArgumentError"),
    );
    const silent = await startHub({ changedContent: "ignore" });
    const { responseBody: same } = await silent.registry.addConfiguration(configuration("c1"));
    const { responseBody: updated } = await silent.registry.updateConfiguration({ ...same, content: other });
    expect(updated.content).toEqual(baseContent());
  });

  test.each([
    ["an id in capitals", { id: "C1" }, "ArgumentInvalid"],
    ["an id of 129 characters", { id: "c".repeat(129) }, "ArgumentInvalid"],
    ["a negative priority", { priority: -1 }, "ArgumentInvalid"],
    ["a fractional priority", { priority: 1.5 }, "ArgumentInvalid"],
    ["labels that are not texts", { labels: { a: { b: "c" } } }, "ArgumentInvalid"],
    [
      "content that breaks the schema",
      { content: { modulesContent: { $edgeAgent: { "properties.desired": {} } } } },
      "InvalidConfigurationContent",
    ],
    [
      "six metrics",
      {
        metrics: {
          queries: Object.fromEntries("abcdef".split("").map((name) => [name, "SELECT deviceId FROM devices"])),
        },
      },
      "InvalidConfigurationCustomMetricsQuery",
    ],
    [
      "a metric that is no query",
      { metrics: { queries: { n: "count devices" } } },
      "InvalidConfigurationCustomMetricsQuery",
    ],
  ])("is refused with %s", async (_, patch, code) => {
    const { registry } = await startHub();
    await expect(registry.addConfiguration(configuration("c1", patch) as never)).rejects.toEqual(
      refusedWith(code, "ArgumentError"),
    );
  });

  test.each([
    ["S1", 100],
    ["F1", 10],
  ] as const)("is one of at most as many as the tier %s allows: %i", async (sku, limit) => {
    const { registry } = await startHub({ sku });
    for (let index = 0; index < limit; index++)
      await registry.addConfiguration(configuration(`c${index}`, { content: layerContent("m", "i"), priority: 2 }));
    await expect(registry.addConfiguration(configuration("one-more"))).rejects.toEqual(
      refusedWith("ConfigurationCountLimitExceeded"),
    );
    await registry.removeConfiguration("c0");
    await registry.addConfiguration(configuration("one-more"));
  });

  test("can be tested beforehand", async () => {
    const { hub } = await startHub({ acceptBearer: () => true });
    const call = (body: object) => callRest(hub, "POST", "/configurations/testQueries", body);
    expect(
      await call({ targetCondition: "tags.a='b'", customMetricQueries: { n: "SELECT deviceId FROM devices" } }),
    ).toEqual({ status: 200, body: {} });
    expect(
      await call({
        targetCondition: "tags.a IN ['b']",
        customMetricQueries: { n: "SELECT", m: "SELECT deviceId FROM devices" },
      }),
    ).toEqual({
      status: 200,
      body: {
        targetConditionError: expect.stringContaining("Invalid target condition") as string,
        customMetricQueryErrors: { n: expect.stringContaining("Metric n") as string },
      },
    });
  });
});
