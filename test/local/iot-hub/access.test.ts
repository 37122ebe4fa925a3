// The hub's doors: signatures, bearer tokens, api-versions, throttles, and the faults that tests order.
import { setImmediate } from "node:timers/promises";
import iothub from "azure-iothub";
import { describe, expect, test } from "vitest";
import { createSteppedClock } from "../../../local/clock.ts";
import { type OperationClass, createThrottle } from "../../../local/iot-hub/throttle.ts";
import { START_MS, baseContent, callRest, connectSdk, startHub } from "./sdk.ts";

const unauthorized = {
  name: "UnauthorizedError",
  responseBody: expect.stringContaining("ErrorCode:IotHubUnauthorizedAccess;") as string,
};
const configuration = (id: string) => ({
  id,
  schemaVersion: "1.0",
  priority: 1,
  targetCondition: "*",
  content: baseContent(),
});

describe("access", () => {
  test("is refused to wrong keys, unknown policies, other hubs' tokens and expired ones", async () => {
    const { hub, registry } = await startHub();
    expect((await registry.list()).responseBody).toEqual([]);
    const wrongKey = hub.connectionString.replace(
      /SharedAccessKey=.*/,
      `SharedAccessKey=${Buffer.from("wrong").toString("base64")}`,
    );
    await expect(connectSdk(wrongKey).registry.list()).rejects.toMatchObject(unauthorized);
    await expect(
      connectSdk(hub.connectionString.replace("iothubowner", "constructor")).registry.list(),
    ).rejects.toMatchObject(unauthorized);
    await expect(connectSdk(hub.connectionString, 1).registry.list()).rejects.toThrow("Token has expired");
    const key = hub.connectionString.split("SharedAccessKey=")[1] ?? "";
    const token = iothub.SharedAccessSignature.create("other.azure-devices.net", "iothubowner", key, 4_000_000_000);
    const call = await fetch(`${hub.url}/devices?api-version=2021-04-12`, {
      headers: { authorization: token.toString() },
    });
    expect(call.status).toBe(401);
    expect(await call.json()).toMatchObject({ Message: expect.stringContaining("not for this hub") as string });
    expect((await fetch(`${hub.url}/devices?api-version=2021-04-12`)).status).toBe(401);
  });

  test("is granted to bearer tokens only where the hub is told which", async () => {
    const closed = await startHub();
    const open = await startHub({ acceptBearer: (token) => token === "good" });
    const status = async (url: string, token: string): Promise<number> =>
      (await fetch(`${url}/devices?api-version=2021-04-12`, { headers: { authorization: `Bearer ${token}` } })).status;
    expect(await status(closed.hub.url, "good")).toBe(401);
    expect(await status(open.hub.url, "good")).toBe(200);
    expect(await status(open.hub.url, "bad")).toBe(401);
  });

  test("needs a known api-version, a known operation and JSON", async () => {
    const { hub } = await startHub({ acceptBearer: () => true });
    const message = (text: string): unknown => ({
      Message: expect.stringContaining(text) as string,
      ExceptionMessage: expect.stringMatching(/^Tracking ID:/) as string,
    });
    expect(await callRest(hub, "GET", "/devices?api-version=2016-01-01")).toEqual({
      status: 400,
      body: message("ErrorCode:InvalidProtocolVersion;"),
    });
    expect(await callRest(hub, "GET", "/devices?top=5")).toMatchObject({ status: 400 });
    expect(await callRest(hub, "GET", "/nothing")).toEqual({
      status: 404,
      body: message("ErrorCode:GenericNotFound;"),
    });
    expect(await callRest(hub, "POST", "/devices/query", "{")).toEqual({
      status: 400,
      body: message("ErrorCode:IotHubFormatError;"),
    });
    expect(await callRest(hub, "POST", "/devices/query", "[]")).toEqual({
      status: 400,
      body: message("must be a JSON object"),
    });
    expect(await callRest(hub, "POST", "/devices/query", `"${"x".repeat(1024 * 1024)}"`)).toMatchObject({
      status: 413,
    });
  });
});

describe("throttles", () => {
  test.each<[OperationClass, number, number]>([
    ["configuration", 20, 60_000],
    ["query", 20, 60_000],
    ["identity", 100, 60_000],
    ["twinRead", 100, 1_000],
    ["twinUpdate", 50, 1_000],
  ])("let %s operations of one unit of S1 pass %i times per %i ms", async (operation, allowed, periodMs) => {
    const clock = createSteppedClock(START_MS);
    const throttle = createThrottle("S1", 1, clock);
    const pass = (): number => {
      for (let passed = 0; ; passed++) {
        try {
          throttle.take(operation);
        } catch (error) {
          expect(error).toMatchObject({ status: 429, errorCode: "ThrottlingException" });
          return passed;
        }
      }
    };
    expect(pass()).toBe(allowed);
    await clock.advance(periodMs / allowed - 1);
    expect(pass()).toBe(0);
    await clock.advance(periodMs);
    expect(pass()).toBe(allowed);
  });

  test("grow with units and tiers", () => {
    const clock = createSteppedClock(START_MS);
    const passes = (operation: OperationClass, sku: "S1" | "S2" | "S3", units: number): number => {
      const throttle = createThrottle(sku, units, clock);
      let passed = 0;
      for (; passed < 10_000; passed++) {
        try {
          throttle.take(operation);
        } catch {
          break;
        }
      }
      return passed;
    };
    expect([passes("configuration", "S1", 3), passes("configuration", "S3", 1)]).toEqual([60, 20]);
    expect([passes("query", "S2", 2), passes("query", "S3", 2)]).toEqual([40, 2_000]);
    expect([passes("twinRead", "S1", 5), passes("twinRead", "S2", 20), passes("twinRead", "S3", 2)]).toEqual([
      100, 200, 1_000,
    ]);
  });

  test("answer with the SDK's throttling error, by class, and let calls pass again in time", async () => {
    const { registry, clock, hub } = await startHub({ unlimited: false });
    await registry.addConfiguration(configuration("c"));
    for (let call = 0; call < 19; call++) await registry.getConfiguration("c");
    await expect(registry.getConfiguration("c")).rejects.toMatchObject({
      name: "ThrottlingError",
      responseBody: expect.stringContaining("ErrorCode:ThrottlingException;") as string,
    });
    await registry.createQuery("SELECT * FROM devices").next();
    await clock.advance(3_000);
    await registry.getConfiguration("c");
    await expect(registry.getConfiguration("c")).rejects.toMatchObject({ name: "ThrottlingError" });
    expect(hub.calls()["configurations.get"]).toBe(22);
  });
});

describe("an ordered fault", () => {
  test.each([
    [429, "ThrottlingError"],
    [500, "InternalServerError"],
    [503, "ServiceUnavailableError"],
  ] as const)("answers %i as often as ordered, and carries nothing out", async (status, name) => {
    const { hub, registry } = await startHub();
    hub.inject({ operation: "configurations.put", fault: { kind: "status", status }, times: 2 });
    await expect(registry.addConfiguration(configuration("c"))).rejects.toMatchObject({ name });
    expect((await registry.getConfigurations()).responseBody).toEqual([]);
    await expect(registry.addConfiguration(configuration("c"))).rejects.toMatchObject({ name });
    await registry.addConfiguration(configuration("c"));
    expect(hub.calls()).toEqual({ "configurations.put": 3, "configurations.list": 1 });
    hub.resetCalls();
    expect(hub.calls()).toEqual({});
  });

  test("resets the connection, before or after the work is done", async () => {
    const { hub, registry } = await startHub();
    hub.inject({ path: /\/configurations\/a$/, fault: { kind: "reset" } });
    hub.inject({ path: /\/configurations\/b$/, fault: { kind: "lost" } });
    await expect(registry.addConfiguration(configuration("a"))).rejects.toMatchObject({ code: "ECONNRESET" });
    await expect(registry.addConfiguration(configuration("b"))).rejects.toMatchObject({ code: "ECONNRESET" });
    expect((await registry.getConfigurations()).responseBody.map(({ id }) => id)).toEqual(["b"]);
  });

  test("delays by the clock, lets requests pass before it, and is taken back", async () => {
    const { hub, registry, clock } = await startHub();
    hub.inject({ operation: "devices.list", after: 1, fault: { kind: "delay", ms: 5_000 } });
    await registry.list();
    let answered = false;
    const slow = registry.list().then(() => (answered = true));
    while ((hub.calls()["devices.list"] ?? 0) < 2) await setImmediate();
    await clock.advance(4_999);
    expect(answered).toBe(false);
    await clock.advance(1);
    await slow;
    hub.inject({ fault: { kind: "status", status: 500 }, times: 100 });
    hub.clearFaults();
    await registry.list();
  });
});
