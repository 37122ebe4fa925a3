// Identities and twins through the SDK: creation, bulk work, patches, etags, limits, and the service's error classes.
import { describe, expect, test } from "vitest";
import { START_MS, callRest, startHub } from "./sdk.ts";

const refusedWith = (code: string, name: string): unknown =>
  expect.objectContaining({ name, responseBody: expect.stringContaining(`ErrorCode:${code};`) as string });

describe("a device identity", () => {
  test("is created with keys of its own, shown, listed, disabled and deleted", async () => {
    const { registry } = await startHub();
    const { responseBody: created } = await registry.create({ deviceId: "d1", capabilities: { iotEdge: true } });
    expect(created).toMatchObject({
      deviceId: "d1",
      status: "enabled",
      connectionState: "Disconnected",
      capabilities: { iotEdge: true },
    });
    expect(created.authentication?.symmetricKey?.primaryKey).toHaveLength(44);
    await registry.create({ deviceId: "d2" });
    expect((await registry.list()).responseBody.map(({ deviceId }) => deviceId)).toEqual(["d1", "d2"]);
    const { responseBody: disabled } = await registry.update({ deviceId: "d1", status: "disabled" });
    expect(disabled.status).toBe("disabled");
    expect((disabled as unknown as { etag: string }).etag).not.toBe((created as unknown as { etag: string }).etag);
    expect((await registry.getRegistryStatistics()).responseBody).toEqual({
      totalDeviceCount: 2,
      enabledDeviceCount: 1,
      disabledDeviceCount: 1,
    });
    await registry.delete("d1");
    await expect(registry.get("d1")).rejects.toEqual(refusedWith("DeviceNotFound", "DeviceNotFoundError"));
    await expect(registry.delete("d1")).rejects.toEqual(refusedWith("DeviceNotFound", "DeviceNotFoundError"));
  });

  test("is refused when it exists, or its id or keys are not valid", async () => {
    const { registry } = await startHub();
    await registry.create({ deviceId: "d1" });
    await expect(registry.create({ deviceId: "d1" })).rejects.toEqual(
      refusedWith("DeviceAlreadyExists", "DeviceAlreadyExistsError"),
    );
    await expect(registry.create({ deviceId: "d 1" })).rejects.toEqual(refusedWith("ArgumentInvalid", "ArgumentError"));
    await expect(registry.create({ deviceId: "d".repeat(129) })).rejects.toEqual(
      refusedWith("ArgumentInvalid", "ArgumentError"),
    );
    const authentication = { symmetricKey: { primaryKey: "QQ==", secondaryKey: "" } };
    await expect(registry.create({ deviceId: "d3", authentication })).rejects.toThrow("Either no keys or both keys");
    await expect(registry.create({ deviceId: "d3", status: "broken" })).rejects.toThrow("not enabled or disabled");
    await expect(registry.get("d3")).rejects.toMatchObject({ name: "DeviceNotFoundError" });
  });

  test("has modules: an edge device its system's, and those that are added", async () => {
    const { registry } = await startHub();
    await registry.create({ deviceId: "edge", capabilities: { iotEdge: true } });
    await registry.create({ deviceId: "leaf" });
    expect((await registry.getModulesOnDevice("leaf")).responseBody).toEqual([]);
    expect((await registry.getModulesOnDevice("edge")).responseBody).toMatchObject([
      { moduleId: "$edgeAgent", managedBy: "iotEdge" },
      { moduleId: "$edgeHub" },
    ]);
    await registry.addModule({ deviceId: "leaf", moduleId: "m" });
    await expect(registry.addModule({ deviceId: "leaf", moduleId: "m" })).rejects.toEqual(
      refusedWith("ModuleAlreadyExistsOnDevice", "DeviceAlreadyExistsError"),
    );
    await expect(registry.addModule({ deviceId: "leaf", moduleId: "$mine" })).rejects.toEqual(
      refusedWith("ArgumentInvalid", "ArgumentError"),
    );
    expect((await registry.getModule("leaf", "m")).responseBody).toMatchObject({ deviceId: "leaf", moduleId: "m" });
    await registry.removeModule("leaf", "m");
    await expect(registry.getModule("leaf", "m")).rejects.toMatchObject({
      responseBody: expect.stringContaining("ModuleNotFound") as string,
    });
    await registry.update({ deviceId: "leaf", capabilities: { iotEdge: true } });
    expect((await registry.getModulesOnDevice("leaf")).responseBody).toHaveLength(2);
  });

  test("comes in bulk, with the failures named and the others done", async () => {
    const { registry, hub } = await startHub({ acceptBearer: () => true });
    const bulk = (items: readonly object[]) => callRest(hub, "POST", "/devices", items);
    expect((await registry.addDevices([{ deviceId: "a" }, { deviceId: "b" }])).responseBody).toMatchObject({
      isSuccessful: true,
      errors: [],
    });
    const failure = (await registry
      .addDevices([{ deviceId: "b" }, { deviceId: "c" }])
      .catch((error: unknown) => error)) as { responseBody: string };
    expect(JSON.parse(failure.responseBody)).toMatchObject({
      isSuccessful: false,
      errors: [{ deviceId: "b", errorCode: "DeviceAlreadyExists" }],
    });
    expect((await registry.list()).responseBody).toHaveLength(3);
    const updates = ["a", "b", "c"].map((id) => ({ id, importMode: "updateTwin", tags: { lighter: { slot: "07" } } }));
    expect(await bulk(updates)).toMatchObject({ status: 200, body: { isSuccessful: true } });
    expect((await registry.getTwin("b")).responseBody.tags).toEqual({ lighter: { slot: "07" } });
    const failed = (deviceId: string, errorCode: string): object => ({
      status: 400,
      body: { isSuccessful: false, errors: [{ deviceId, errorCode }] },
    });
    expect(await bulk([{ id: "none", importMode: "updateTwin", tags: {} }])).toMatchObject(
      failed("none", "DeviceNotFound"),
    );
    const stale = [{ id: "a", importMode: "updateTwinIfMatchETag", twinETag: "AAAAAAAAAAE=", tags: {} }];
    expect(await bulk(stale)).toMatchObject(failed("a", "PreconditionFailed"));
    expect(await bulk([{ id: "a", importMode: "paint" }])).toMatchObject(failed("a", "ArgumentInvalid"));
    expect((await bulk(Array.from({ length: 101 }, (_, index) => ({ id: `x${index}` })))).status).toBe(400);
    await registry.removeDevices([{ deviceId: "a" }, { deviceId: "b" }], true);
    expect((await registry.list()).responseBody.map(({ deviceId }) => deviceId)).toEqual(["c"]);
    expect(hub.calls()["devices.bulk"]).toBe(8);
  });
});

describe("a twin", () => {
  test("is patched, with null for removal, and shows versions and etags", async () => {
    const { registry, hub, clock } = await startHub();
    hub.devices.register("d", { a: { b: "1", c: "2" }, keep: "x" });
    const { responseBody: before } = await registry.getTwin("d");
    expect(before).toMatchObject({
      deviceId: "d",
      etag: "AAAAAAAAAAE=",
      tags: { a: { b: "1", c: "2" }, keep: "x" },
      properties: { desired: { $version: 1 }, reported: { $version: 1 } },
    });
    await clock.advance(1_000);
    const { responseBody: after } = await registry.updateTwin(
      "d",
      { tags: { a: { b: null, d: { e: 3 } } }, properties: { desired: { level: 5 } } },
      before.etag,
    );
    expect(after.tags).toEqual({ a: { c: "2", d: { e: 3 } }, keep: "x" });
    expect(after.properties.desired).toEqual({
      level: 5,
      $version: 2,
      $metadata: { $lastUpdated: new Date(START_MS + 1_000).toISOString() },
    });
    expect(after.etag).toBe("AAAAAAAAAAI=");
    await registry.updateTwin("d", { tags: { keep: null } }, "*");
    const { responseBody: last } = await registry.getTwin("d");
    expect(last.tags).toEqual({ a: { c: "2", d: { e: 3 } } });
    expect(last.properties.desired["$version"]).toBe(2);
  });

  test("is not written under a stale etag", async () => {
    const { registry, hub } = await startHub();
    hub.devices.register("d");
    const { responseBody: before } = await registry.getTwin("d");
    await registry.updateTwin("d", { tags: { a: "1" } }, before.etag);
    await expect(registry.updateTwin("d", { tags: { a: "2" } }, before.etag)).rejects.toEqual(
      refusedWith("PreconditionFailed", "InvalidEtagError"),
    );
    expect((await registry.getTwin("d")).responseBody.tags).toEqual({ a: "1" });
  });

  test("of a module is read and patched as well, and replaced by PUT", async () => {
    const { registry, hub } = await startHub({ acceptBearer: () => true });
    hub.devices.register("d");
    await registry.updateModuleTwin("d", "$edgeHub", { properties: { desired: { a: 1, b: 2 } } }, "*");
    expect((await registry.getModuleTwin("d", "$edgeHub")).responseBody).toMatchObject({
      moduleId: "$edgeHub",
      properties: { desired: { a: 1, b: 2, $version: 2 } },
    });
    const replaced = await callRest(hub, "PUT", "/twins/d/modules/%24edgeHub", { properties: { desired: { c: 3 } } });
    expect(replaced).toMatchObject({ status: 200, body: { properties: { desired: { c: 3, $version: 3 } } } });
    expect((await registry.getModuleTwin("d", "$edgeHub")).responseBody.properties.desired).not.toHaveProperty("a");
    await expect(registry.getModuleTwin("d", "none")).rejects.toEqual(
      refusedWith("DeviceNotFound", "DeviceNotFoundError"),
    );
    await expect(registry.getTwin("none")).rejects.toEqual(refusedWith("DeviceNotFound", "DeviceNotFoundError"));
  });

  const text = (bytes: number): string => "x".repeat(bytes);
  const nested = (depth: number): object => (depth === 0 ? {} : { a: nested(depth - 1) });
  test.each<[string, object, string]>([
    ["tags over 8 KB", { tags: { a: text(4_000), b: text(4_000), c: text(200) } }, "may have 8192"],
    [
      "desired properties over 32 KB",
      {
        properties: {
          desired: Object.fromEntries(Array.from({ length: 9 }, (_, index) => [`k${index}`, text(4_000)])),
        },
      },
      "may have 32768",
    ],
    ["a text over 4 KB", { tags: { a: text(4_097) } }, "longer than 4096 bytes"],
    ["a key with a dot", { tags: { "a.b": 1 } }, "not allowed"],
    ["a key with a space", { tags: { "a b": 1 } }, "not allowed"],
    ["a key with a dollar", { properties: { desired: { $a: 1 } } }, "not allowed"],
    ["a depth of 11", { tags: nested(11) }, "exceeds 10"],
    ["an integer beyond 2^52", { tags: { a: 2 ** 52 } }, "out of range"],
    ["tags that are no object", { tags: "x" }, "must be an object"],
    ["reported properties", { properties: { reported: { a: 1 } } }, "reported properties cannot be written"],
  ])("refuses %s", async (_, patch, reason) => {
    const { registry, hub } = await startHub();
    hub.devices.register("d");
    await expect(registry.updateTwin("d", patch, "*")).rejects.toMatchObject({
      name: "ArgumentError",
      message: expect.stringContaining(reason) as string,
    });
    expect((await registry.getTwin("d")).responseBody.etag).toBe("AAAAAAAAAAE=");
  });

  test("takes what a connected device reports, and says whether it is connected", async () => {
    const { registry, hub, clock } = await startHub();
    hub.devices.register("d");
    const connection = hub.devices.connect("d", { desired: () => {} });
    connection.report("$edgeAgent", { runtime: { platform: { os: "linux" } }, modules: { a: { exitCode: 0 }, b: {} } });
    connection.report("$edgeAgent", { modules: { a: { exitCode: 1 }, b: null } });
    const { responseBody: agent } = await registry.getModuleTwin("d", "$edgeAgent");
    expect(agent.properties.reported).toMatchObject({
      runtime: { platform: { os: "linux" } },
      modules: { a: { exitCode: 1 } },
      $version: 3,
    });
    expect(agent.properties.reported["modules"]).not.toHaveProperty("b");
    expect(agent.etag).toBe("AAAAAAAAAAE=");
    expect((await registry.get("d")).responseBody.connectionState).toBe("Connected");
    connection.disconnect();
    expect((await registry.getTwin("d")).responseBody).toMatchObject({ connectionState: "Disconnected" });
    expect(() => hub.devices.connect("none", { desired: () => {} })).toThrow("DeviceNotFound");
    expect(() => hub.devices.register("e", { a: text(4_000), b: text(4_000), c: text(200) })).toThrow("may have 8192");
    await clock.advance(0);
  });
});
