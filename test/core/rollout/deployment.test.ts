// What is written to the hub: slots, conditions, module content, metrics, and what the ledger remembers.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { findModule } from "../../../src/core/rollout/baseline.ts";
import { composeDeployment, composeModule } from "../../../src/core/rollout/deployment.ts";
import {
  acquire,
  doubtfulDeployments,
  emptyLedger,
  exposedSlots,
  release,
  retiredDeployments,
  withDeployment,
  type LiveDeployment,
} from "../../../src/core/rollout/ledger.ts";
import { formatSlots, parseSlots, slotOf } from "../../../src/core/rollout/slots.ts";
import { composeTargetCondition } from "../../../src/core/rollout/target-condition.ts";
import { sampleConfig } from "../../support/config.ts";

const rules = sampleConfig().products[0]!.module;
const IMAGE = `127.0.0.1:5000/team/detector:iot-2@sha256:${"2".repeat(64)}`;

describe("slots", () => {
  test("a device keeps its slot for ever", () => {
    expect([slotOf("device-1"), slotOf("device-2"), slotOf("truck 7")]).toEqual(["45", "03", "83"]);
  });

  test("devices spread evenly", () => {
    const counts = new Map<string, number>();
    for (let i = 0; i < 100_000; i++) counts.set(slotOf(`device-${i}`), (counts.get(slotOf(`device-${i}`)) ?? 0) + 1);
    expect(counts.size).toBe(100);
    for (const devices of counts.values()) expect(Math.abs(devices - 1_000)).toBeLessThan(150);
  });

  test("ranges expand in order and without repetition", () => {
    expect(parseSlots("10,00-02,01")).toEqual(["00", "01", "02", "10"]);
    expect(formatSlots(["10", "02", "00", "01", "02"])).toBe("00-02,10");
  });
});

describe("composeTargetCondition", () => {
  test("uses only the operators that the service accepts", () => {
    expect(composeTargetCondition(["00", "01"], "tags.site='north' OR tags.site='south'")).toBe(
      "(tags.site='north' OR tags.site='south') AND (tags.lighter.slot='00' OR tags.lighter.slot='01')",
    );
    expect(composeTargetCondition(["07"], "*")).toBe("tags.lighter.slot='07'");
  });

  test("fits all slots, and says so when the product's own condition does not leave room", () => {
    expect(composeTargetCondition(parseSlots("00-99")).length).toBeLessThan(4_000);
    expect(() => composeTargetCondition(parseSlots("00-99"), `tags.a='${"x".repeat(8_000)}'`)).toThrowError(
      expect.objectContaining({ code: "CONDITION_TOO_LONG" }),
    );
  });
});

describe("composeModule", () => {
  test("cuts createOptions into pieces that give the same JSON", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.string({ maxLength: 200 }), { maxKeys: 30 }), (createOptions) => {
        const { settings } = composeModule({ ...rules, createOptions }, IMAGE);
        const keys = Object.keys(settings).filter((key) => key.startsWith("createOptions"));
        expect(keys[0]).toBe("createOptions");
        for (const key of keys) expect(settings[key]!.length).toBeLessThanOrEqual(512);
        expect(JSON.parse(keys.map((key) => settings[key]).join(""))).toEqual(createOptions);
      }),
      { seed: 7, numRuns: 100 },
    );
  });

  test("refuses createOptions that do not fit in a hundred pieces", () => {
    expect(() => composeModule({ ...rules, createOptions: { a: "x".repeat(52_000) } }, IMAGE)).toThrowError(
      expect.objectContaining({ code: "CREATE_OPTIONS_TOO_LONG" }),
    );
  });
});

describe("composeDeployment", () => {
  const compose = (status: "running" | "stopped"): ReturnType<typeof composeDeployment> =>
    composeDeployment({
      id: "lighter-x",
      priority: 10_001,
      targetCondition: "tags.lighter.slot='00'",
      product: "detector",
      releaseId: "x",
      moduleName: "detector",
      module: { ...composeModule(rules, IMAGE), status },
    });

  test("is a layered deployment of one module", () => {
    expect(Object.keys(compose("running").content.modulesContent)).toEqual(["$edgeAgent"]);
    expect(compose("running").content.modulesContent["$edgeAgent"]).toMatchObject({
      "properties.desired.modules.detector": { type: "docker", status: "running", settings: { image: IMAGE } },
    });
  });

  test("counts as running only what runs this image in the desired state, and never code 500 as failed", () => {
    const { running, failed } = compose("running").metrics.queries;
    expect(running).toContain("configurations.[[lighter-x]].status = 'Applied'");
    expect(running).toContain(`settings.image = '${IMAGE}'`);
    expect(running).toContain("runtimeStatus = 'running'");
    expect(failed).not.toContain("code = 500");
    expect(compose("stopped").metrics.queries["running"]).toContain("runtimeStatus = 'stopped'");
  });
});

describe("the ledger", () => {
  const live = (id: string, facts: Partial<LiveDeployment>): LiveDeployment => ({
    id,
    releaseId: id,
    priority: 1,
    image: IMAGE,
    slots: ["00"],
    state: "complete",
    ...facts,
  });
  const empty = emptyLedger("detector", "main");

  test("lets one release in at a time", () => {
    const held = acquire(empty, "a");
    expect(acquire(held, "b").active).toBe("a");
    expect(acquire(release(held, "b"), "b").active).toBe("a");
    expect(acquire(release(held, "a"), "b").active).toBe("b");
  });

  test("a rollback covers what superseded releases had exposed, and deletes them all", () => {
    let ledger = withDeployment(empty, live("good", { slots: ["00", "01", "02"] }));
    ledger = withDeployment(ledger, live("overtaken", { state: "superseded", slots: ["00", "01"], priority: 2 }));
    ledger = withDeployment(ledger, live("bad", { state: "widening", slots: ["00"], priority: 3 }));
    ledger = withDeployment(ledger, live("bad-rollback", { releaseId: "bad", state: "rollback", priority: 4 }));
    expect(exposedSlots(ledger, "bad")).toEqual(["00", "01"]);
    expect(doubtfulDeployments(ledger, "bad")).toEqual(["overtaken", "bad"]);
  });

  test("a rollback covers every slot that a release ever had, also when rings were redrawn meanwhile", () => {
    let ledger = withDeployment(empty, live("bad", { state: "widening", slots: ["00", "01"] }));
    ledger = withDeployment(ledger, live("bad", { state: "widening", slots: ["01", "02"] }));
    expect(exposedSlots(ledger, "bad")).toEqual(["00", "01", "02"]);
  });

  test("retires what the newest release covers but for one, and nothing that it does not cover", () => {
    let ledger = empty;
    ledger = withDeployment(ledger, live("one", { priority: 1 }));
    ledger = withDeployment(ledger, live("elsewhere", { priority: 2, slots: ["50"] }));
    ledger = withDeployment(ledger, live("two", { priority: 3 }));
    ledger = withDeployment(ledger, live("overtaken", { priority: 4, state: "superseded" }));
    ledger = withDeployment(ledger, live("three", { priority: 5 }));
    expect(retiredDeployments(ledger, "three").sort()).toEqual(["one", "overtaken"]);
  });
});

describe("findModule", () => {
  const module = composeModule(rules, IMAGE);

  test("takes the deployment of highest priority, layered or full", () => {
    const full = {
      id: "base",
      priority: 1,
      content: { modulesContent: { $edgeAgent: { "properties.desired": { modules: { detector: module } } } } },
    };
    const layered = {
      id: "layer",
      priority: 2,
      content: { modulesContent: { $edgeAgent: { "properties.desired.modules.detector": module } } },
    };
    expect(findModule([full, layered], "detector")?.deploymentId).toBe("layer");
    expect(findModule([full], "detector")).toEqual({ module, deploymentId: "base" });
    expect(findModule([full], "other")).toBeUndefined();
  });
});
