// Automatic deployments: who gets what, by priority and layers; what removal leaves; and when anybody notices.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { DesiredProperties } from "../../../local/iot-hub/device-gateway.ts";
import { count } from "../../counts.ts";
import { type Fixture, MINUTE_MS, baseContent, layerContent, moduleOf, startHub } from "./sdk.ts";

const TICK_MS = 5 * MINUTE_MS;

/** Adds a deployment: `base:image` of module `app`, or `name:image` of a layer. */
async function add(
  { registry }: Fixture,
  id: string,
  priority: number,
  content: object,
  targetCondition = "*",
): Promise<void> {
  await registry.addConfiguration({ id, schemaVersion: "1.0", priority, targetCondition, content });
}

const base = (image: string): object => baseContent({ app: moduleOf(image) });

interface Agent {
  readonly version: number;
  readonly images: Record<string, string>;
  readonly statuses: Record<string, string>;
}

/** What the device's `$edgeAgent` twin says. */
async function readAgent({ registry }: Fixture, deviceId: string): Promise<Agent> {
  const twin = (await registry.getModuleTwin(deviceId, "$edgeAgent")).responseBody;
  const modules = (twin.properties.desired["modules"] ?? {}) as Record<string, { settings: { image: string } }>;
  const { configurations = {} } = twin as unknown as { configurations?: Record<string, { status: string }> };
  return {
    version: twin.properties.desired["$version"] as number,
    images: Object.fromEntries(Object.entries(modules).map(([name, { settings }]) => [name, settings.image])),
    statuses: Object.fromEntries(Object.entries(configurations).map(([id, { status }]) => [id, status])),
  };
}

async function startWith(devices: Record<string, object>, options = {}): Promise<Fixture> {
  const fixture = await startHub(options);
  for (const [deviceId, tags] of Object.entries(devices))
    fixture.hub.devices.register(deviceId, tags as Record<string, unknown>);
  return fixture;
}

async function countsOf({ registry }: Fixture, id: string): Promise<number[]> {
  const results = (await registry.getConfiguration(id)).responseBody.systemMetrics?.results ?? {};
  return ["targetedCount", "appliedCount", "reportedSuccessfulCount", "reportedFailedCount"].map(
    (name) => results[name] ?? -1,
  );
}

describe("a device", () => {
  test("gets the highest base and the layers above it, higher ones over lower ones", async () => {
    const fixture = await startWith({ d: {} });
    await add(fixture, "low-base", 1, base("r/app:low"));
    await add(fixture, "base", 5, base("r/app:1"));
    await add(fixture, "below", 3, layerContent("below", "r/below:1"));
    await add(fixture, "same", 5, layerContent("same", "r/same:1"));
    await add(fixture, "layer-1", 6, layerContent("extra", "r/extra:1"));
    await add(fixture, "layer-2", 7, layerContent("extra", "r/extra:2"));
    await add(fixture, "app-2", 8, layerContent("app", "r/app:2"));
    await fixture.clock.advance(30_000);
    const agent = await readAgent(fixture, "d");
    expect(agent.images).toEqual({ app: "r/app:2", extra: "r/extra:2" });
    expect(agent.statuses).toEqual({
      "low-base": "Targeted",
      base: "Applied",
      below: "Targeted",
      same: "Targeted",
      "layer-1": "Applied",
      "layer-2": "Applied",
      "app-2": "Applied",
    });
    await fixture.clock.advance(TICK_MS);
    expect(await countsOf(fixture, "low-base")).toEqual([1, 0, 0, 0]);
  });

  test("follows the newest of equal priorities", async () => {
    const fixture = await startWith({ d: {} });
    await add(fixture, "base-a", 1, base("r/app:a"));
    await add(fixture, "layer-a", 2, layerContent("x", "r/x:a"));
    await fixture.clock.advance(1_000);
    await add(fixture, "base-b", 1, base("r/app:b"));
    await add(fixture, "layer-b", 2, layerContent("x", "r/x:b"));
    await fixture.clock.advance(TICK_MS);
    expect((await readAgent(fixture, "d")).images).toEqual({ app: "r/app:b", x: "r/x:b" });
  });

  test("changes over when nothing but a priority changes", async () => {
    const fixture = await startWith({ d: {} });
    const { registry, clock } = fixture;
    await add(fixture, "base-a", 1, base("r/app:a"));
    await add(fixture, "base-b", 2, base("r/app:b"));
    await clock.advance(30_000);
    const { etag } = (await registry.getModuleTwin("d", "$edgeAgent")).responseBody;
    const { responseBody: lower } = await registry.getConfiguration("base-a");
    await registry.updateConfiguration({ ...lower, priority: 3 });
    await clock.advance(30_000);
    const agent = await readAgent(fixture, "d");
    expect(agent).toMatchObject({
      images: { app: "r/app:a" },
      statuses: { "base-a": "Applied", "base-b": "Targeted" },
    });
    expect((await registry.getModuleTwin("d", "$edgeAgent")).responseBody.etag).not.toBe(etag);
  });

  test("without a base is targeted by layers, but gets none of them", async () => {
    const fixture = await startWith({ d: {} });
    await add(fixture, "layer", 2, layerContent("x", "r/x:1"));
    await fixture.clock.advance(30_000);
    expect(await readAgent(fixture, "d")).toEqual({ version: 1, images: {}, statuses: { layer: "Targeted" } });
    expect(await countsOf(fixture, "layer")).toEqual([1, 0, 0, 0]);
  });

  test("sees $version rise only when its content changes", async () => {
    const fixture = await startWith({ d: {} });
    await add(fixture, "base", 1, base("r/app:1"));
    await fixture.clock.advance(30_000);
    const before = await readAgent(fixture, "d");
    await add(fixture, "twin-of-base", 2, base("r/app:1"));
    await add(fixture, "lower", 0, base("r/app:0"));
    await fixture.clock.advance(TICK_MS);
    expect(await readAgent(fixture, "d")).toEqual({
      ...before,
      statuses: { base: "Targeted", "twin-of-base": "Applied", lower: "Targeted" },
    });
    await add(fixture, "layer", 3, layerContent("x", "r/x:1"));
    await fixture.clock.advance(TICK_MS);
    expect((await readAgent(fixture, "d")).version).toBe(before.version + 1);
  });

  test("gets module identities and twins for what is deployed, and loses them with it", async () => {
    const fixture = await startWith({ d: {} });
    const { registry, clock } = fixture;
    await add(fixture, "base", 1, base("r/app:1"));
    await add(fixture, "layer", 2, {
      modulesContent: {
        $edgeAgent: { "properties.desired.modules.x": moduleOf("r/x:1") },
        x: { "properties.desired.limit.high": 5 },
      },
    });
    await clock.advance(30_000);
    const list = async (): Promise<string[]> =>
      (await registry.getModulesOnDevice("d")).responseBody.map(({ moduleId }) => moduleId).toSorted();
    expect(await list()).toEqual(["$edgeAgent", "$edgeHub", "app", "x"]);
    expect((await registry.getModuleTwin("d", "x")).responseBody.properties.desired).toMatchObject({
      limit: { high: 5 },
      $version: 2,
    });
    await registry.addModule({ deviceId: "d", moduleId: "mine" });
    await registry.removeConfiguration("layer");
    await clock.advance(30_000);
    expect(await list()).toEqual(["$edgeAgent", "$edgeHub", "app", "mine"]);
    await expect(registry.getModuleTwin("d", "x")).rejects.toMatchObject({ name: "DeviceNotFoundError" });
  });

  test("that is no edge device is never targeted", async () => {
    const fixture = await startHub();
    await fixture.registry.create({ deviceId: "leaf" });
    await add(fixture, "base", 1, base("r/app:1"));
    await fixture.clock.advance(TICK_MS);
    expect(await countsOf(fixture, "base")).toEqual([0, 0, 0, 0]);
  });

  test("takes a deployment of its own until an automatic one changes", async () => {
    const fixture = await startWith({ d: {} });
    const { registry, clock } = fixture;
    await registry.applyConfigurationContentOnDevice("d", base("r/app:own"));
    expect((await readAgent(fixture, "d")).images).toEqual({ app: "r/app:own" });
    await expect(registry.applyConfigurationContentOnDevice("d", layerContent("x", "i"))).rejects.toMatchObject({
      name: "ArgumentError",
    });
    await expect(registry.applyConfigurationContentOnDevice("none", base("i"))).rejects.toMatchObject({
      name: "DeviceNotFoundError",
    });
    await registry.create({ deviceId: "leaf" });
    await expect(registry.applyConfigurationContentOnDevice("leaf", base("i"))).rejects.toThrow(
      "not an Azure IoT Edge device",
    );
    await add(fixture, "base", 1, base("r/app:1"));
    await clock.advance(30_000);
    expect((await readAgent(fixture, "d")).images).toEqual({ app: "r/app:1" });
  });

  test("keeps what it has when layers outgrow its twin", async () => {
    const fixture = await startWith({ d: {} });
    await add(fixture, "base", 1, base("r/app:1"));
    await fixture.clock.advance(30_000);
    const env = Object.fromEntries(
      Array.from({ length: 6 }, (_, index) => [`k${index}`, { value: "x".repeat(3_500) }]),
    );
    for (const name of ["a", "b"])
      await add(fixture, name, 2, {
        modulesContent: { $edgeAgent: { [`properties.desired.modules.${name}`]: { ...moduleOf("i"), env } } },
      });
    await fixture.clock.advance(TICK_MS);
    expect(await readAgent(fixture, "d")).toMatchObject({
      images: { app: "r/app:1" },
      statuses: { base: "Targeted", a: "Targeted", b: "Targeted" },
    });
  });
});

describe("removal", () => {
  test("of a layer takes its modules away, where the hub is set to", async () => {
    const fixture = await startWith({ d: {} }, { layeredRemoval: "remove" });
    await add(fixture, "base", 1, base("r/app:1"));
    await add(fixture, "layer", 2, layerContent("x", "r/x:1"));
    await fixture.clock.advance(30_000);
    await fixture.registry.removeConfiguration("layer");
    expect((await readAgent(fixture, "d")).images).toEqual({ app: "r/app:1", x: "r/x:1" });
    await fixture.clock.advance(30_000);
    expect((await readAgent(fixture, "d")).images).toEqual({ app: "r/app:1" });
  });

  test("of a layer leaves its modules, where the hub is set to, until the base changes", async () => {
    const fixture = await startWith({ d: {} }, { layeredRemoval: "keep" });
    await add(fixture, "base", 1, base("r/app:1"));
    await add(fixture, "layer", 2, layerContent("x", "r/x:1"));
    await add(fixture, "app-2", 3, layerContent("app", "r/app:2"));
    await fixture.clock.advance(30_000);
    const { version } = await readAgent(fixture, "d");
    await fixture.registry.removeConfiguration("layer");
    await fixture.registry.removeConfiguration("app-2");
    await fixture.clock.advance(30_000);
    expect(await readAgent(fixture, "d")).toEqual({
      version,
      images: { app: "r/app:2", x: "r/x:1" },
      statuses: { base: "Applied" },
    });
    await add(fixture, "layer-2", 4, layerContent("x", "r/x:2"));
    await fixture.clock.advance(30_000);
    expect((await readAgent(fixture, "d")).images).toEqual({ app: "r/app:2", x: "r/x:2" });
    await add(fixture, "base-2", 3, base("r/app:3"));
    await fixture.clock.advance(TICK_MS);
    expect((await readAgent(fixture, "d")).images).toEqual({ app: "r/app:3", x: "r/x:2" });
  });

  test("of the last base leaves the modules in place; of a higher one it brings the next back", async () => {
    const fixture = await startWith({ d: {} });
    await add(fixture, "base-1", 1, base("r/app:1"));
    await add(fixture, "base-2", 2, base("r/app:2"));
    await fixture.clock.advance(30_000);
    await fixture.registry.removeConfiguration("base-2");
    await fixture.clock.advance(30_000);
    const { version, ...agent } = await readAgent(fixture, "d");
    expect(agent).toEqual({ images: { app: "r/app:1" }, statuses: { "base-1": "Applied" } });
    await fixture.registry.removeConfiguration("base-1");
    await fixture.clock.advance(TICK_MS);
    expect(await readAgent(fixture, "d")).toEqual({ version, images: { app: "r/app:1" }, statuses: {} });
  });

  test("and new creation under the same id is a new configuration", async () => {
    const fixture = await startWith({ d: {} });
    await add(fixture, "base", 1, base("r/app:1"));
    await fixture.clock.advance(30_000);
    await fixture.registry.removeConfiguration("base");
    await add(fixture, "base", 1, base("r/app:2"));
    await fixture.clock.advance(30_000);
    expect((await readAgent(fixture, "d")).images).toEqual({ app: "r/app:2" });
  });
});

describe("the hub's beat", () => {
  test("evaluates a configuration 30 s after it changed, and everything every five minutes", async () => {
    const fixture = await startWith({ a: { ring: "1" }, b: { ring: "2" } });
    const { registry, clock, hub } = fixture;
    await add(fixture, "base", 1, base("r/app:1"), "tags.ring='1'");
    await clock.advance(29_999);
    expect((await readAgent(fixture, "a")).images).toEqual({});
    expect(await countsOf(fixture, "base")).toEqual([0, 0, 0, 0]);
    await clock.advance(1);
    expect((await readAgent(fixture, "a")).images).toEqual({ app: "r/app:1" });
    expect(await countsOf(fixture, "base")).toEqual([1, 1, 0, 0]);

    hub.devices.register("late", { ring: "1" });
    await registry.updateTwin("a", { tags: { ring: "3" } }, "*");
    await clock.advance(TICK_MS - 30_001);
    expect((await readAgent(fixture, "late")).images).toEqual({});
    expect((await readAgent(fixture, "a")).statuses).toEqual({ base: "Applied" });
    await clock.advance(1);
    expect((await readAgent(fixture, "late")).images).toEqual({ app: "r/app:1" });
    expect((await readAgent(fixture, "a")).statuses).toEqual({});
    expect(await countsOf(fixture, "base")).toEqual([1, 1, 0, 0]);

    const { responseBody: current } = await registry.getConfiguration("base");
    await registry.updateConfiguration({ ...current, targetCondition: "tags.ring='1' OR tags.ring='2'" });
    await clock.advance(29_999);
    expect((await readAgent(fixture, "b")).images).toEqual({});
    expect(await countsOf(fixture, "base")).toEqual([1, 1, 0, 0]);
    await clock.advance(1);
    expect((await readAgent(fixture, "b")).images).toEqual({ app: "r/app:1" });
    expect(await countsOf(fixture, "base")).toEqual([2, 2, 0, 0]);
  });

  test("brings metrics on its ticks only, and later still by their lag", async () => {
    const fixture = await startWith({ a: {}, b: {}, c: {} }, { metricsLagMs: 60_000 });
    const { hub, clock, registry } = fixture;
    const metrics = {
      queries: {
        running:
          "SELECT deviceId FROM devices.modules WHERE moduleId='$edgeAgent' AND configurations.[[base]].status='Applied' AND properties.reported.modules.app.runtimeStatus='running'",
        all: "SELECT deviceId FROM devices",
      },
    };
    await registry.addConfiguration({
      id: "base",
      schemaVersion: "1.0",
      priority: 1,
      targetCondition: "*",
      content: base("r/app:1"),
      metrics,
    });
    for (const [deviceId, code, runtimeStatus] of [
      ["a", 200, "running"],
      ["b", 500, "backoff"],
    ] as const) {
      const connection = hub.devices.connect(deviceId, {
        desired: ({ $version }) =>
          connection.report("$edgeAgent", {
            lastDesiredVersion: $version,
            lastDesiredStatus: { code },
            modules: { app: { runtimeStatus } },
          }),
      });
    }
    await clock.advance(89_999);
    expect(await countsOf(fixture, "base")).toEqual([0, 0, 0, 0]);
    await clock.advance(1);
    // The evaluation saw the twins before the devices had heard of it.
    expect(await countsOf(fixture, "base")).toEqual([3, 3, 0, 0]);
    await clock.advance(TICK_MS - 90_000 + 59_999);
    expect(await countsOf(fixture, "base")).toEqual([3, 3, 0, 0]);
    await clock.advance(1);
    expect(await countsOf(fixture, "base")).toEqual([3, 3, 1, 1]);
    expect((await registry.getConfiguration("base")).responseBody.metrics?.results).toEqual({ running: 1, all: 3 });
  });

  test("counts from the lagging index", async () => {
    const fixture = await startWith({ a: {} }, { queryLagMs: 120_000 });
    await fixture.clock.advance(120_000);
    await add(fixture, "base", 1, base("r/app:1"));
    await fixture.clock.advance(30_000);
    expect((await readAgent(fixture, "a")).statuses).toEqual({ base: "Applied" });
    expect(await countsOf(fixture, "base")).toEqual([1, 0, 0, 0]);
    await fixture.clock.advance(TICK_MS);
    expect(await countsOf(fixture, "base")).toEqual([1, 1, 0, 0]);
  });
});

test("a connected device hears once on connection, then at every change of its content, never inside a call", async () => {
  const fixture = await startWith({ d: {} });
  const { hub, clock } = fixture;
  const heard: DesiredProperties[] = [];
  let inside = false;
  const connect = () =>
    hub.devices.connect("d", {
      desired(properties) {
        expect(inside).toBe(false);
        inside = true;
        heard.push(properties);
        hub.devices.register(`other-${properties.$version}`);
        inside = false;
      },
    });
  const first = connect();
  expect(heard).toEqual([]);
  await clock.advance(0);
  expect(heard).toEqual([{ $version: 1 }]);
  await add(fixture, "base", 1, base("r/app:1"));
  await clock.advance(TICK_MS);
  await add(fixture, "same", 2, base("r/app:1"));
  await clock.advance(TICK_MS);
  expect(heard.map(({ $version }) => $version)).toEqual([1, 2]);
  expect(() => Object.assign(heard[1]?.["modules"] as object, { more: 1 })).toThrow(TypeError);
  first.disconnect();
  first.report("$edgeAgent", { lost: true });
  await add(fixture, "layer", 3, layerContent("x", "r/x:1"));
  await clock.advance(TICK_MS);
  expect(heard).toHaveLength(2);
  connect();
  await clock.advance(0);
  expect(heard.map(({ $version }) => $version)).toEqual([1, 2, 3]);
  expect((await fixture.registry.getModuleTwin("d", "$edgeAgent")).responseBody.properties.reported).not.toHaveProperty(
    "lost",
  );
});

test("any history of deployments ends as a plain merge of what is left says", { timeout: 60_000 }, async () => {
  const rings = ["1", "2", "3"];
  const step = fc.oneof(
    fc.record({
      do: fc.constant("add" as const),
      layer: fc.boolean(),
      priority: fc.integer({ min: 0, max: 4 }),
      rings: fc.subarray(rings),
      image: fc.integer({ min: 1, max: 3 }),
    }),
    fc.record({ do: fc.constant("remove" as const), which: fc.nat() }),
    fc.record({
      do: fc.constant("change" as const),
      which: fc.nat(),
      priority: fc.integer({ min: 0, max: 4 }),
      rings: fc.subarray(rings),
    }),
    fc.record({ do: fc.constant("tag" as const), ring: fc.constantFrom(...rings) }),
    fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(1_000, 30_000, TICK_MS) }),
  );
  const fixture = await startHub();
  const { registry, hub, clock } = fixture;
  let runs = 0;
  const conditionOf = (chosen: readonly string[], run: number): string =>
    chosen.length === 0 ? "" : `deviceId='d${run}' AND (${chosen.map((ring) => `tags.ring='${ring}'`).join(" OR ")})`;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const run = ++runs;
      const deviceId = `d${run}`;
      let ring = "1";
      hub.devices.register(deviceId, { ring });
      let left: {
        id: string;
        layer: boolean;
        priority: number;
        rings: readonly string[];
        image: string;
        order: number;
      }[] = [];
      let applied: Record<string, string> = {};
      for (const [index, one] of steps.entries()) {
        if (one.do === "add") {
          const made = {
            id: `c${run}-${index}`,
            layer: one.layer,
            priority: one.priority,
            rings: one.rings,
            image: `r/i:${one.image}`,
            order: index,
          };
          left.push(made);
          await add(
            fixture,
            made.id,
            made.priority,
            made.layer ? layerContent("x", made.image) : base(made.image),
            conditionOf(made.rings, run),
          );
        } else if (one.do === "tag") {
          ring = one.ring;
          await registry.updateTwin(deviceId, { tags: { ring } }, "*");
        } else if (one.do === "wait") await clock.advance(one.ms);
        else if (left.length > 0) {
          const chosen = left[one.which % left.length]!;
          if (one.do === "remove") {
            left = left.filter((other) => other !== chosen);
            await registry.removeConfiguration(chosen.id);
          } else {
            Object.assign(chosen, { priority: one.priority, rings: one.rings });
            const { responseBody: current } = await registry.getConfiguration(chosen.id);
            await registry.updateConfiguration({
              ...current,
              priority: one.priority,
              targetCondition: conditionOf(one.rings, run),
            });
          }
        }
      }
      // A last base pins down what the history before it would leave in place.
      await add(fixture, `c${run}-last`, 2, base("r/i:last"), conditionOf(["1", "2", "3"], run));
      left.push({ id: `c${run}-last`, layer: false, priority: 2, rings, image: "r/i:last", order: steps.length });
      await clock.advance(TICK_MS + 1_000);
      const targeting = left
        .filter((one) => one.rings.includes(ring))
        .toSorted((a, b) => b.priority - a.priority || b.order - a.order);
      const winner = targeting.find(({ layer }) => !layer)!;
      const layer = targeting.find((one) => one.layer && one.priority > winner.priority);
      applied = { app: winner.image, ...(layer === undefined ? {} : { x: layer.image }) };
      const agent = await readAgent(fixture, deviceId);
      expect(agent.images).toEqual(applied);
      const above = (one: (typeof left)[number]): boolean =>
        one === winner || (one.layer && one.priority > winner.priority);
      expect(agent.statuses).toEqual(
        Object.fromEntries(targeting.map((one) => [one.id, above(one) ? "Applied" : "Targeted"])),
      );
      for (const { id } of left) await registry.removeConfiguration(id);
    }),
    { seed: 20_260_107, numRuns: count("hubDeployments") },
  );
});
