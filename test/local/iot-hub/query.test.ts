// The query language over twins, as the SDK asks it: its grammar, its meaning, its pages and its lag.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createSteppedClock } from "../../../local/clock.ts";
import { createDeviceStore } from "../../../local/iot-hub/device-store.ts";
import { compileExpression, compileSelector } from "../../../local/iot-hub/expression.ts";
import { IotHubError } from "../../../local/iot-hub/iot-hub-error.ts";
import type { JsonObject } from "../../../local/iot-hub/json.ts";
import { parseCondition, parseQuery } from "../../../local/iot-hub/query-parser.ts";
import { readerOfTwin } from "../../../local/iot-hub/twin-reader.ts";
import { count } from "../../counts.ts";
import { judge, queryConditionArbitrary, tagsArbitrary, writeCondition } from "./conditions.ts";
import { type Fixture, START_MS, baseContent, moduleOf, startHub } from "./sdk.ts";

async function ask({ registry }: Fixture, sql: string, size?: number): Promise<unknown[]> {
  const query = registry.createQuery(sql, size);
  const rows: unknown[] = [];
  while (query.hasMoreResults) {
    const { result } = await query.next(query.continuationToken);
    rows.push(...(result as unknown[]));
  }
  return rows;
}

async function startFleet(devices: number, options = {}): Promise<Fixture> {
  const fixture = await startHub(options);
  for (let index = 0; index < devices; index++) {
    fixture.hub.devices.register(`d${index}`, { ring: index % 3, site: { name: index % 2 === 0 ? "north" : "south" } });
  }
  return fixture;
}

describe("the grammar", () => {
  test.each([
    ["SELECT deviceId", "FROM is expected"],
    ["SELECT * FROM twins", "devices is expected"],
    ["SELECT * FROM devices.twins", "modules or jobs"],
    ["SELECT * FROM devices JOIN devices.modules", "the end of the query"],
    ["SELECT * FROM devices ORDER BY deviceId", "the end of the query"],
    ["SELECT * FROM devices WHERE", "a property or a value"],
    ["SELECT * FROM devices WHERE tags.a", "a comparison"],
    ["SELECT * FROM devices WHERE tags.a = 'x' AND", "a property or a value"],
    ["SELECT * FROM devices WHERE tags.a LIKE 'x%'", "unexpected character %|a comparison"],
    ["SELECT * FROM devices WHERE tags.a IN ('x')", "[ is expected"],
    ["SELECT * FROM devices WHERE tags.a IN []", "a property or a value"],
    ["SELECT * FROM devices WHERE LOWER(tags.a) = 'x'", "function LOWER is not supported"],
    ["SELECT * FROM devices WHERE IS_DEFINED(tags.a, tags.b)", "IS_DEFINED takes 1"],
    ["SELECT * FROM devices WHERE tags.a = 1 + 1", "unexpected character +"],
    ["SELECT * FROM devices WHERE tags.[[x] = 1", "name of a property"],
    ["SELECT TOP 0 * FROM devices", "a positive number"],
    ["SELECT COUNT() FROM devices", "AS is expected"],
    ["SELECT * FROM devices GROUP BY tags.a", "SELECT * cannot be combined with GROUP BY"],
    ["SELECT deviceId, COUNT() AS n FROM devices GROUP BY tags.a", "deviceId is neither aggregated"],
    ["SELECT * FROM devices; DROP TABLE devices", "unexpected character ;"],
    ["", "SELECT is expected"],
  ])("refuses %j", async (sql, reason) => {
    let refusal: unknown;
    try {
      parseQuery(sql);
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toBeInstanceOf(IotHubError);
    expect(refusal).toMatchObject({ status: 400, errorCode: "ArgumentInvalid" });
    expect(reason.split("|").some((text) => (refusal as IotHubError).text.includes(text.replaceAll(";", ",")))).toBe(
      true,
    );
  });

  test("means what a plain reading of it means", () => {
    const devices = createDeviceStore({ clock: createSteppedClock(START_MS), indexLagMs: 0 });
    const device = devices.add("canary", { iotEdge: true });
    const outcomes = new Set<unknown>();
    fc.assert(
      fc.property(queryConditionArbitrary, tagsArbitrary, (condition, tags) => {
        const twin = { ...device.twin.current!, tags: tags as JsonObject };
        const wanted = judge(condition, { deviceId: "canary", tags });
        outcomes.add(wanted);
        const text = writeCondition(condition);
        expect(compileExpression(parseCondition(text), readerOfTwin)(twin)).toBe(wanted);
        expect(compileSelector(parseCondition(text), readerOfTwin)(twin)).toBe(wanted === true);
      }),
      { seed: 20_260_106, numRuns: count("hubConditions") },
    );
    expect(outcomes).toEqual(new Set([true, false, undefined]));
  });
});

describe("a query through the SDK", () => {
  test("selects twins whole, by column, and counted by group", async () => {
    const fixture = await startFleet(6);
    const twins = await ask(fixture, "SELECT * FROM devices WHERE tags.ring = 1");
    expect(twins).toMatchObject([
      { deviceId: "d1", capabilities: { iotEdge: true } },
      { deviceId: "d4", tags: { site: { name: "north" } } },
    ]);
    expect(
      await ask(fixture, "select deviceId, tags.site.name as site, tags.none from devices where tags.ring >= 2"),
    ).toEqual([
      { deviceId: "d2", site: "north" },
      { deviceId: "d5", site: "south" },
    ]);
    expect(await ask(fixture, "SELECT COUNT() AS n FROM devices WHERE tags.site.name IN ['north', 'west']")).toEqual([
      { n: 3 },
    ]);
    expect(await ask(fixture, "SELECT COUNT() AS n FROM devices WHERE tags.ring = 9")).toEqual([{ n: 0 }]);
    expect(
      await ask(
        fixture,
        "SELECT tags.site.name AS site, COUNT() AS n, SUM(tags.ring) AS sum, MIN(tags.ring) AS low, MAX(tags.ring) AS high, AVG(tags.ring) AS mean FROM devices GROUP BY tags.site.name",
      ),
    ).toEqual([
      { site: "north", n: 3, sum: 3, low: 0, high: 2, mean: 1 },
      { site: "south", n: 3, sum: 3, low: 0, high: 2, mean: 1 },
    ]);
    expect(await ask(fixture, "SELECT TOP 2 deviceId FROM devices", 1)).toEqual([
      { deviceId: "d0" },
      { deviceId: "d1" },
    ]);
    expect(
      await ask(
        fixture,
        "SELECT deviceId FROM devices WHERE connectionState = 'Connected' OR NOT IS_DEFINED(tags.ring)",
      ),
    ).toEqual([]);
  });

  test("finds applied configurations and up-to-date agents among module twins", async () => {
    const fixture = await startFleet(3);
    const content = baseContent({ a: moduleOf("r/a:1") });
    await fixture.registry.addConfiguration({
      id: "c-1",
      schemaVersion: "1.0",
      priority: 1,
      targetCondition: "tags.site.name='north'",
      content,
    });
    const connection = fixture.hub.devices.connect("d0", {
      desired: ({ $version }) =>
        connection.report("$edgeAgent", { lastDesiredVersion: $version, lastDesiredStatus: { code: 200 } }),
    });
    await fixture.clock.advance(30_000);
    const applied =
      "select deviceId from devices.modules where moduleId = '$edgeAgent' and configurations.[[c-1]].status = 'Applied'";
    expect(await ask(fixture, applied)).toEqual([{ deviceId: "d0" }, { deviceId: "d2" }]);
    expect(
      await ask(fixture, `${applied} and properties.desired.$version = properties.reported.lastDesiredVersion`),
    ).toEqual([{ deviceId: "d0" }]);
    expect(await ask(fixture, "SELECT moduleId FROM devices.modules WHERE deviceId = 'd0'")).toEqual([
      { moduleId: "$edgeAgent" },
      { moduleId: "$edgeHub" },
      { moduleId: "a" },
    ]);
  });

  test("comes in pages, without a continuation on the last", async () => {
    const fixture = await startFleet(7);
    const query = fixture.registry.createQuery("SELECT deviceId FROM devices", 3);
    const sizes: number[] = [];
    while (query.hasMoreResults) sizes.push(((await query.next(query.continuationToken)).result as unknown[]).length);
    expect(sizes).toEqual([3, 3, 1]);
    expect(fixture.hub.calls()).toEqual({ query: 3 });
    const exact = fixture.registry.createQuery("SELECT deviceId FROM devices", 7);
    await exact.next();
    expect(exact.hasMoreResults).toBe(false);
    const twins = fixture.registry.createQuery("SELECT * FROM devices", 4);
    expect((await twins.nextAsTwin()).result.map(({ deviceId }) => deviceId)).toEqual(["d0", "d1", "d2", "d3"]);
    expect((await twins.nextAsTwin()).result.map(({ deviceId }) => deviceId)).toEqual(["d4", "d5", "d6"]);
    const modules = await ask(fixture, "SELECT deviceId, moduleId FROM devices.modules", 3);
    expect(new Set(modules.map((row) => JSON.stringify(row))).size).toBe(14);
    expect(await ask(fixture, "SELECT tags.ring, COUNT() AS n FROM devices GROUP BY tags.ring", 2)).toHaveLength(3);
  });

  test("starts over when asked for the next page without the token", async () => {
    const { registry } = await startFleet(4);
    const query = registry.createQuery("SELECT deviceId FROM devices", 3);
    const first = (await query.next()).result as unknown[];
    expect((await query.next()).result).toEqual(first);
  });

  test("refuses another query's continuation, and bad texts, as bad arguments", async () => {
    const { registry } = await startFleet(4);
    const query = registry.createQuery("SELECT deviceId FROM devices", 3);
    await query.next();
    const other = registry.createQuery("SELECT * FROM devices", 3);
    await expect(other.next(query.continuationToken)).rejects.toMatchObject({ name: "ArgumentError" });
    await expect(registry.createQuery("SELECT nothing").next()).rejects.toThrow("FROM is expected");
  });

  test("pages through a fleet that is being tagged meanwhile without missing a device", async () => {
    const { registry } = await startFleet(9);
    const query = registry.createQuery("SELECT deviceId FROM devices WHERE NOT IS_DEFINED(tags.slot)", 2);
    const seen: string[] = [];
    while (query.hasMoreResults) {
      for (const { deviceId } of (await query.next(query.continuationToken)).result as { deviceId: string }[]) {
        seen.push(deviceId);
        await registry.updateTwin(deviceId, { tags: { slot: "1" } }, "*");
      }
    }
    expect(seen).toHaveLength(9);
  });

  test("lags behind point reads by the index's lag, also for deleted devices", async () => {
    const fixture = await startHub({ queryLagMs: 60_000 });
    const { hub, clock, registry } = fixture;
    hub.devices.register("d0", { ring: "a" });
    expect(await ask(fixture, "SELECT deviceId FROM devices")).toEqual([]);
    await clock.advance(60_000);
    await registry.updateTwin("d0", { tags: { ring: "b" } }, "*");
    expect((await registry.getTwin("d0")).responseBody.tags["ring"]).toBe("b");
    expect(await ask(fixture, "SELECT tags.ring FROM devices")).toEqual([{ ring: "a" }]);
    await clock.advance(60_000);
    expect(await ask(fixture, "SELECT tags.ring FROM devices")).toEqual([{ ring: "b" }]);
    await registry.delete("d0");
    await expect(registry.getTwin("d0")).rejects.toMatchObject({ name: "DeviceNotFoundError" });
    expect(await ask(fixture, "SELECT deviceId FROM devices")).toEqual([{ deviceId: "d0" }]);
    expect(await ask(fixture, "SELECT moduleId FROM devices.modules")).toHaveLength(2);
    await clock.advance(60_000);
    expect(await ask(fixture, "SELECT deviceId FROM devices")).toEqual([]);
    expect(await ask(fixture, "SELECT moduleId FROM devices.modules")).toEqual([]);
  });
});
