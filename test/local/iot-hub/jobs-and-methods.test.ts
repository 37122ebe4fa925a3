// Jobs and direct methods through the SDK: pace, condition, cancellation; timeouts, offline devices and answers.
import { describe, expect, test } from "vitest";
import { type Fixture, startHub } from "./sdk.ts";

interface JobView {
  readonly status: string;
  readonly deviceJobStatistics: Record<string, number>;
}

async function readJob({ jobs }: Fixture, jobId: string): Promise<JobView> {
  return (await jobs.getJob(jobId)).jobStatus as JobView;
}

async function startFleet(devices: number, options = {}): Promise<Fixture> {
  const fixture = await startHub(options);
  for (let index = 0; index < devices; index++) fixture.hub.devices.register(`d${index}`, { ring: String(index % 2) });
  return fixture;
}

const schedule = ({ jobs }: Fixture, jobId: string, condition: string): Promise<unknown> =>
  jobs.scheduleTwinUpdate(jobId, condition, { etag: "*", tags: { slot: "07" } }, undefined as never, 3_600);

describe("a twin update job", () => {
  test("touches the devices its condition selects, so many per second, and is counted", async () => {
    const fixture = await startFleet(50);
    const { registry, clock, hub } = fixture;
    await schedule(fixture, "j1", "tags.ring = '1'");
    expect(await readJob(fixture, "j1")).toMatchObject({ status: "queued" });
    await clock.advance(0);
    expect(await readJob(fixture, "j1")).toMatchObject({
      status: "running",
      deviceJobStatistics: { deviceCount: 25, succeededCount: 10, pendingCount: 15 },
    });
    await clock.advance(2_000);
    expect(await readJob(fixture, "j1")).toMatchObject({
      status: "completed",
      deviceJobStatistics: { succeededCount: 25, failedCount: 0, pendingCount: 0 },
    });
    expect((await registry.getTwin("d1")).responseBody.tags).toEqual({ ring: "1", slot: "07" });
    expect((await registry.getTwin("d0")).responseBody.tags).toEqual({ ring: "0" });
    expect(hub.calls()).toMatchObject({ "jobs.put": 1, "jobs.get": 3 });
    const rows = (
      await registry
        .createQuery("SELECT deviceId, status FROM devices.jobs WHERE devices.jobs.jobId = 'j1'", 100)
        .next()
    ).result as object[];
    expect(rows).toHaveLength(25);
    expect(rows[0]).toEqual({ deviceId: "d1", status: "completed" });
  });

  test("runs alone on one unit of S1, under an id of its own", async () => {
    const fixture = await startFleet(50);
    await schedule(fixture, "j1", "*");
    await expect(schedule(fixture, "j2", "*")).rejects.toMatchObject({
      name: "ThrottlingError",
      responseBody: expect.stringContaining("ThrottlingMaxActiveJobCountExceeded") as string,
    });
    await fixture.clock.advance(10_000);
    await expect(schedule(fixture, "j1", "*")).rejects.toMatchObject({
      name: "DeviceAlreadyExistsError",
      responseBody: expect.stringContaining("JobAlreadyExists") as string,
    });
    await schedule(fixture, "j2", "*");
  });

  test("is cancelled midway, and listed by its status", async () => {
    const fixture = await startFleet(50, { jobDevicesPerSecond: 5 });
    const { jobs, clock } = fixture;
    await schedule(fixture, "j1", "*");
    await clock.advance(1_000);
    await jobs.cancelJob("j1");
    await clock.advance(60_000);
    expect(await readJob(fixture, "j1")).toMatchObject({
      status: "cancelled",
      deviceJobStatistics: { succeededCount: 10, pendingCount: 40 },
    });
    const listed = await jobs.createQuery("scheduleUpdateTwin", "cancelled").next();
    expect(listed.result).toMatchObject([{ jobId: "j1" }]);
    expect((await jobs.createQuery("scheduleDeviceMethod").next()).result).toEqual([]);
    await expect(jobs.cancelJob("none")).rejects.toMatchObject({
      responseBody: expect.stringContaining("JobNotFound") as string,
    });
    expect((await jobs.getJob("none")).jobStatus).toMatchObject({ type: "unknown", status: "unknown" });
  });

  test("waits for its start time", async () => {
    const fixture = await startFleet(1);
    const { jobs, clock } = fixture;
    await jobs.scheduleTwinUpdate("j1", "*", { tags: { slot: "1" } }, new Date(clock.now() + 60_000), 10);
    await clock.advance(59_999);
    expect((await readJob(fixture, "j1")).status).toBe("scheduled");
    await clock.advance(1);
    expect((await readJob(fixture, "j1")).status).toBe("completed");
  });

  test("is refused with a condition that is none", async () => {
    await expect(schedule(await startFleet(1), "j1", "tags.ring")).rejects.toMatchObject({ name: "ArgumentError" });
  });
});

describe("a direct method", () => {
  const call = {
    methodName: "smokeTest",
    payload: { port: 5001 },
    responseTimeoutInSeconds: 10,
    connectTimeoutInSeconds: 0,
  };

  test("reaches a module of a connected device and brings its answer", async () => {
    const { client, hub } = await startFleet(1);
    hub.devices.connect("d0", {
      desired: () => {},
      method: (moduleId, name, payload) => Promise.resolve({ status: 200, payload: { moduleId, name, payload } }),
    });
    const { result } = (await client.invokeDeviceMethod("d0", "app", call)) as { result: unknown };
    expect(result).toEqual({ status: 200, payload: { moduleId: "app", name: "smokeTest", payload: { port: 5001 } } });
  });

  test("fails with the service's body when the device is offline or has no handler", async () => {
    const { client, hub } = await startFleet(2);
    hub.devices.connect("d1", { desired: () => {} });
    for (const deviceId of ["d0", "d1"]) {
      const error = (await client
        .invokeDeviceMethod(deviceId, "app", { ...call })
        .catch((refusal: unknown) => refusal)) as { message: string; responseBody: string };
      expect(error.message).toBe("Not found");
      const { Message } = JSON.parse(error.responseBody) as { Message: string };
      expect(JSON.parse(Message)).toMatchObject({
        errorCode: 404_103,
        message: expect.stringContaining("isn't online") as string,
      });
    }
    await expect(client.invokeDeviceMethod("none", "app", { ...call })).rejects.toMatchObject({
      name: "DeviceNotFoundError",
    });
  });

  test("times out when the device does not answer", async () => {
    const { client, hub, clock } = await startFleet(1);
    let called = (): void => {};
    const reached = new Promise<void>((resolve) => (called = resolve));
    hub.devices.connect("d0", {
      desired: () => {},
      method: () => {
        called();
        return new Promise(() => {});
      },
    });
    const outcome = client.invokeDeviceMethod("d0", "app", { ...call }).catch((error: unknown) => error);
    await reached;
    await clock.advance(10_000);
    expect(await outcome).toMatchObject({ name: "GatewayTimeoutError" });
  });

  test("waits for the device to connect as long as it is asked to", async () => {
    const { client, hub, clock } = await startFleet(2);
    const outcome = client.invokeDeviceMethod("d0", "app", { ...call, connectTimeoutInSeconds: 20 });
    const late = client
      .invokeDeviceMethod("d1", "app", { ...call, connectTimeoutInSeconds: 20 })
      .catch((error: unknown) => error);
    while ((hub.calls()["methods.invoke"] ?? 0) < 2) await clock.advance(0);
    hub.devices.connect("d0", { desired: () => {}, method: () => Promise.resolve({ status: 201, payload: null }) });
    expect((await outcome) as unknown).toMatchObject({ result: { status: 201, payload: null } });
    await clock.advance(20_000);
    expect(await late).toMatchObject({ message: "Not found" });
  });

  test("is refused with timeouts the service does not take", async () => {
    const { client } = await startFleet(1);
    await expect(
      client.invokeDeviceMethod("d0", "app", { ...call, responseTimeoutInSeconds: 4 }),
    ).rejects.toMatchObject({ name: "ArgumentError" });
    await expect(
      client.invokeDeviceMethod("d0", "app", { ...call, connectTimeoutInSeconds: 301 }),
    ).rejects.toMatchObject({ name: "ArgumentError" });
  });

  test("is scheduled for many devices by a job, which counts the offline ones as failed", async () => {
    const fixture = await startFleet(3);
    const { jobs, hub, clock, registry } = fixture;
    hub.devices.connect("d1", { desired: () => {}, method: () => Promise.resolve({ status: 200, payload: "pong" }) });
    await jobs.scheduleDeviceMethod("j1", "*", { methodName: "ping" }, undefined as never, 60);
    await clock.advance(1_000);
    expect(await readJob(fixture, "j1")).toMatchObject({
      status: "completed",
      deviceJobStatistics: { succeededCount: 1, failedCount: 2 },
    });
    const { result } = await registry
      .createQuery("SELECT deviceId FROM devices.jobs WHERE status = 'completed'")
      .next();
    expect(result).toEqual([{ deviceId: "d1" }]);
  });
});
