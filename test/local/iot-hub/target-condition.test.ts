// The grammar of target conditions: what the service takes, what it refuses, and what a condition means.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createSteppedClock } from "../../../local/clock.ts";
import { createDeviceStore } from "../../../local/iot-hub/device-store.ts";
import { compileExpression, compileSelector } from "../../../local/iot-hub/expression.ts";
import { IotHubError } from "../../../local/iot-hub/iot-hub-error.ts";
import type { JsonObject } from "../../../local/iot-hub/json.ts";
import { parseTargetCondition } from "../../../local/iot-hub/target-condition.ts";
import { readerOfTwin } from "../../../local/iot-hub/twin-reader.ts";
import { count } from "../../counts.ts";
import { judge, tagsArbitrary, targetConditionArbitrary, writeCondition } from "./conditions.ts";
import { START_MS, baseContent, startHub } from "./sdk.ts";

const LONGEST = 8_192;

describe("a target condition", () => {
  test.each([
    "*",
    "",
    "deviceId='linux1'",
    "tags.environment = 'prod'",
    "tags.lighter.slot='07' or tags.lighter.slot='08'",
    "NOT tags.hold='yes' AND (tags.ring='canary' OR deviceId='d-1')",
    "tags.owner='O''Brien'",
    "tags.x='aZ09-:.+%_#*?!(),=@;$'",
    "not not tags.a.b.c='1'",
    `deviceId='${"d".repeat(LONGEST - 11)}'`,
  ])("may be %j", (source) => {
    expect(() => parseTargetCondition(source)).not.toThrow();
  });

  test.each([
    ["tags.ring IN ['a','b']", "IN where = is expected"],
    ["tags.n < '5'", "< where = is expected"],
    ["tags.n >= '5'", ">= where = is expected"],
    ["tags.n != '5'", "!= where = is expected"],
    ["tags.n <> '5'", "<> where = is expected"],
    ["tags.n = 5", "a value in single quotes"],
    ["tags.n = true", "a value in single quotes"],
    ['tags.n = "five"', "unexpected character"],
    ["tags = 'x'", "the name of a tag"],
    ["properties.reported.x = 'y'", "tags.… or deviceId"],
    ["status = 'enabled'", "tags.… or deviceId"],
    ["deviceId.x = 'y'", "where = is expected"],
    ["IS_DEFINED(tags.x)", "tags.… or deviceId"],
    ["tags.x = 'a b'", "not allowed"],
    ["tags.x = 'ä'", "not allowed"],
    ["tags.x = 'a{b}'", "not allowed"],
    ["tags.x = 'open", "not closed"],
    ["(tags.x = 'y'", ") is expected"],
    ["tags.x = 'y')", "AND, OR or the end"],
    ["tags.x = 'y' AND", "tags.… or deviceId"],
    ["tags.x = 'y' tags.z = 'y'", "AND, OR or the end"],
    ["* AND tags.x = 'y'", "tags.… or deviceId"],
    ["tags.my-tag = 'y'", "unexpected character"],
    [`deviceId='${"d".repeat(LONGEST - 10)}'`, "longer than 8192"],
  ])("may not be %j", (source, reason) => {
    const refusal = expect.objectContaining({
      status: 400,
      errorCode: "InvalidConfigurationTargetCondition",
      text: expect.stringContaining(reason) as string,
    });
    expect(() => parseTargetCondition(source)).toThrow(refusal as IotHubError);
  });

  test("selects what a plain reading of it selects", () => {
    const devices = createDeviceStore({ clock: createSteppedClock(START_MS), indexLagMs: 0 });
    let next = 0;
    const outcomes = new Set<unknown>();
    fc.assert(
      fc.property(targetConditionArbitrary, tagsArbitrary, fc.boolean(), (condition, tags, known) => {
        const deviceId = known ? "canary" : `device-${next++}`;
        const device = devices.get(deviceId) ?? devices.add(deviceId, { iotEdge: true });
        const twin = { ...device.twin.current!, tags: tags as JsonObject };
        const parsed = parseTargetCondition(writeCondition(condition));
        if (parsed.kind !== "expression") throw new Error("an expression was written");
        const wanted = judge(condition, { deviceId, tags });
        outcomes.add(wanted);
        expect(compileExpression(parsed.expression, readerOfTwin)(twin)).toBe(wanted);
        expect(compileSelector(parsed.expression, readerOfTwin)(twin)).toBe(wanted === true);
      }),
      { seed: 20_260_105, numRuns: count("hubConditions") },
    );
    expect(outcomes).toEqual(new Set([true, false, undefined]));
  });

  test("never makes anything but a refusal of any text", () => {
    const words = fc.constantFrom(
      "tags",
      ".",
      "ring",
      "=",
      "'a'",
      "AND",
      "OR",
      "NOT",
      "(",
      ")",
      "*",
      "deviceId",
      "''",
      "'",
      "IN",
      "[",
      "]",
      "5",
      " ",
      "<",
      "\u0000",
    );
    fc.assert(
      fc.property(fc.array(words, { maxLength: 12 }), (parts) => {
        try {
          parseTargetCondition(parts.join(" "));
        } catch (error) {
          expect(error).toBeInstanceOf(IotHubError);
        }
      }),
      { seed: 7, numRuns: count("hubConditions") },
    );
  });

  test("is refused by the REST interface, on create and on update, with the service's code", async () => {
    const { registry } = await startHub();
    const configuration = {
      id: "c1",
      schemaVersion: "1.0",
      priority: 1,
      targetCondition: "tags.a IN ['b']",
      content: baseContent(),
    };
    await expect(registry.addConfiguration(configuration)).rejects.toMatchObject({
      name: "ArgumentError",
      responseBody: expect.stringContaining("ErrorCode:InvalidConfigurationTargetCondition;") as string,
    });
    const { responseBody: created } = await registry.addConfiguration({ ...configuration, targetCondition: "*" });
    await expect(registry.updateConfiguration({ ...created, targetCondition: "tags.a > 'b'" })).rejects.toThrow(
      "Invalid target condition",
    );
    expect((await registry.getConfiguration("c1")).responseBody.targetCondition).toBe("*");
  });
});
