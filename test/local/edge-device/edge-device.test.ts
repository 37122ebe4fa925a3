// A device against a registry and a hub: pulls, runs, restarts, updates, rolls back, and says so in the documented words.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { SteppedClock } from "../../../local/clock.ts";
import { createSteppedClock } from "../../../local/clock.ts";
import type { EdgeDevice } from "../../../local/edge-device/edge-device.ts";
import { createEdgeDevice } from "../../../local/edge-device/edge-device.ts";
import type { RuntimeStatus } from "../../../local/edge-device/module-lifecycle.ts";
import { TRANSITIONS } from "../../../local/edge-device/module-lifecycle.ts";
import type { TestGateway } from "./test-gateway.ts";
import { createTestGateway } from "./test-gateway.ts";
import type { TestEntry, TestImage, TestLayer } from "./test-images.ts";
import { buildImage, buildLayer, executable } from "./test-images.ts";
import type { TestRegistry } from "./test-registry.ts";
import { startTestRegistry } from "./test-registry.ts";

const START = Date.UTC(2026, 10, 20);
/** How long real processes and sockets may take on a busy machine. */
const SOON = { timeout: 20_000, interval: 20 };
let folder = "";
let registry: TestRegistry;
let gateway: TestGateway;
let clock: SteppedClock;
let devices: EdgeDevice[] = [];
let shell: TestLayer;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "lighter-device-"));
  registry = await startTestRegistry();
  gateway = createTestGateway();
  clock = createSteppedClock(START);
  devices = [];
  shell = await buildLayer(
    [executable("bin/sh", readFileSync(realpathSync("/bin/sh")).toString("latin1"))].map(asBinary),
  );
});
afterEach(async () => {
  await Promise.all(devices.map((device) => device.close()));
  await registry.close();
  rmSync(folder, { recursive: true, force: true });
  const bad = devices.flatMap(({ deviceId }) => badTransitions(deviceId));
  if (bad.length > 0) throw new Error(`reported what cannot follow: ${bad.join("; ")}`);
});

/** Changes of a module's reported status that the table does not know; a module with another image is another one. */
function badTransitions(deviceId: string): string[] {
  const bad: string[] = [];
  const last = new Map<string, { status: RuntimeStatus; image: unknown }>();
  for (const { after } of gateway.reports(deviceId)) {
    const modules = (after["modules"] ?? {}) as Record<
      string,
      { runtimeStatus: RuntimeStatus; settings: { image: unknown } }
    >;
    for (const name of last.keys()) if (!(name in modules)) last.delete(name);
    for (const [name, { runtimeStatus: status, settings }] of Object.entries(modules)) {
      const before = last.get(name);
      const allowed =
        before === undefined ? ["unknown", ...TRANSITIONS.unknown] : [before.status, ...TRANSITIONS[before.status]];
      if ((before === undefined || before.image === settings.image) && !allowed.includes(status)) {
        bad.push(`${name}: ${before?.status ?? "nothing"} to ${status}`);
      }
      last.set(name, { status, image: settings.image });
    }
  }
  return bad;
}

function asBinary(entry: TestEntry): TestEntry {
  return { ...entry, content: Buffer.from(entry.content as string, "latin1") };
}

function startDevice(deviceId = "d1"): EdgeDevice {
  const device = createEdgeDevice({ deviceId, gateway, clock, folder: join(folder, deviceId), killAfterMs: 500 });
  devices.push(device);
  return device;
}

/** An image whose entrypoint is a shell script. */
async function scriptImage(script: string, config: Record<string, unknown> = {}): Promise<TestImage> {
  const layer = await buildLayer([executable("app/run.sh", `#!/bin/sh\n${script}\n`)]);
  return buildImage([shell, layer], { Entrypoint: ["/app/run.sh"], ...config });
}

/** Says that it is up and stays until it is told to go; `/bin/sleep` is the host's, as paths inside scripts are. */
const STAY = "echo up\nexec /bin/sleep 3600";

function desire(
  modules: Record<string, Record<string, unknown>>,
  deviceId = "d1",
  extra: Record<string, unknown> = {},
): number {
  const full = Object.fromEntries(
    Object.entries(modules).map(([name, { image, ...change }]) => [
      name,
      { type: "docker", status: "running", restartPolicy: "never", version: "1", settings: { image }, ...change },
    ]),
  );
  return gateway.desire(deviceId, { schemaVersion: "1.1", modules: full, ...extra });
}

type Twin = Readonly<Record<string, unknown>>;
const codeOf = (twin: Twin): unknown => (twin["lastDesiredStatus"] as { code?: unknown } | undefined)?.code;
const moduleOf = (twin: Twin, name = "m"): Readonly<Record<string, unknown>> =>
  (twin["modules"] as Record<string, Record<string, unknown>> | undefined)?.[name] ?? {};
const doneAt = (version: number) => (twin: Twin) => twin["lastDesiredVersion"] === version && codeOf(twin) === 200;
const statusIs =
  (status: string, name = "m") =>
  (twin: Twin) =>
    moduleOf(twin, name)["runtimeStatus"] === status;

describe("a deployment", () => {
  test("is pulled, run and reported: pending first, then done", async () => {
    const device = startDevice();
    const image = await scriptImage(`echo "hello $GREETING from $IOTEDGE_MODULEID"\n${STAY}`, {
      Env: ["GREETING=you"],
    });
    const reference = registry.push("team/app", "1", image);
    const version = desire({ m: { image: reference, env: { GREETING: { value: "world" } } } });
    const twin = await gateway.waitFor("d1", doneAt(version));

    const codes = gateway
      .reports("d1")
      .map(({ after }) => `${String(after["lastDesiredVersion"])} ${String(codeOf(after))}`);
    expect([...new Set(codes)]).toEqual(["1 417", "2 500", "2 200"]);
    expect(
      gateway
        .reports("d1")
        .some(({ after }) => JSON.stringify(after["lastDesiredStatus"]).includes("The operation was canceled")),
    ).toBe(true);
    expect(moduleOf(twin)).toMatchObject({
      runtimeStatus: "running",
      status: "running",
      exitCode: 0,
      restartCount: 0,
      lastStartTimeUtc: "2026-11-20T00:00:00.000Z",
      lastExitTimeUtc: "0001-01-01T00:00:00",
      settings: { image: reference, imageHash: image.configDigest, createOptions: "" },
      env: { GREETING: { value: "world" } },
    });
    expect(twin["runtime"]).toMatchObject({ platform: { os: "linux" } });
    await expect.poll(() => device.logs("m"), SOON).toBe("hello world from m\nup\n");
    expect([...registry.bytes.keys()]).toEqual(["lighter-edge-device/1 client/d1"]);
  });

  test("updates and rolls back by digest, pulling only what is new", async () => {
    const device = startDevice();
    const v1 = await scriptImage(`echo one\n${STAY}`);
    const v2 = buildImage(
      [...v1.layers, await buildLayer([executable("app/run.sh", `#!/bin/sh\necho two\n${STAY}\n`)])],
      { Entrypoint: ["/app/run.sh"] },
    );
    const [first, second] = [registry.push("team/app", "1", v1), registry.push("team/app", "2", v2)];
    await gateway.waitFor("d1", doneAt(desire({ m: { image: first } })));
    await expect.poll(() => device.logs("m"), SOON).toContain("one");
    const before = registry.requests.length;
    await gateway.waitFor("d1", doneAt(desire({ m: { image: second } })));
    await expect.poll(() => device.logs("m"), SOON).toContain("two");
    expect(registry.requests.length - before).toBe(3);
    const twin = await gateway.waitFor("d1", doneAt(desire({ m: { image: first } })));
    await expect.poll(() => device.logs("m"), SOON).toContain("one");
    expect(registry.requests.length - before).toBe(3);
    expect(moduleOf(twin)["settings"]).toMatchObject({ image: first, imageHash: v1.configDigest });
  });

  test("starts modules by startup order and removes those no longer wanted", async () => {
    startDevice();
    const image = registry.push("team/app", "1", await scriptImage(STAY));
    await gateway.waitFor(
      "d1",
      doneAt(desire({ a: { image, startupOrder: 2 }, b: { image, startupOrder: 1 }, c: { image } })),
    );
    const order = gateway
      .reports("d1")
      .flatMap(({ patch }) => Object.keys((patch["modules"] as object | undefined) ?? {}));
    expect([...new Set(order)]).toEqual(["b", "a", "c"]);
    const twin = await gateway.waitFor("d1", doneAt(desire({ a: { image, startupOrder: 2 } })));
    expect(Object.keys(twin["modules"] as object)).toEqual(["a"]);
  });

  test("a module desired as stopped is stopped, and started again when desired so", async () => {
    startDevice();
    const image = registry.push("team/app", "1", await scriptImage(STAY));
    await gateway.waitFor("d1", doneAt(desire({ m: { image } })));
    const stopped = await gateway.waitFor("d1", doneAt(desire({ m: { image, status: "stopped" } })));
    expect(moduleOf(stopped)).toMatchObject({ runtimeStatus: "stopped", status: "stopped", exitCode: 143 });
    const again = await gateway.waitFor("d1", doneAt(desire({ m: { image } })));
    expect(moduleOf(again)).toMatchObject({ runtimeStatus: "running", status: "running" });
  });

  test("overrides the image's command by createOptions in chunks", async () => {
    const device = startDevice();
    const image = registry.push(
      "team/app",
      "1",
      await scriptImage('echo "$0 $*" in "$PWD"', { Cmd: ["image"], WorkingDir: "/app" }),
    );
    const text = JSON.stringify({ Cmd: ["one", "/app/run.sh", "/nowhere"], WorkingDir: "/data/in" });
    const settings = { image, createOptions: text.slice(0, 20), createOptions01: text.slice(20) };
    desire({ m: { image, settings } });
    const twin = await gateway.waitFor("d1", statusIs("stopped"));
    const root = device.rootfs("m") as string;
    expect(device.logs("m")).toBe(`${root}/app/run.sh one ${root}/app/run.sh /nowhere in ${root}/data/in\n`);
    expect(moduleOf(twin)["settings"]).toMatchObject({ createOptions: text });
  });

  test.each([
    ["417 when empty", {}, 417],
    ["412 for an unknown schema", { schemaVersion: "2.0", modules: {} }, 412],
    ["412 without a schema", { modules: {} }, 412],
    [
      "400 for a module without a restart policy",
      { schemaVersion: "1.1", modules: { m: { type: "docker", status: "running", settings: { image: "x" } } } },
      400,
    ],
    [
      "400 for a bad module name",
      {
        schemaVersion: "1.1",
        modules: { "m.x": { type: "docker", status: "running", restartPolicy: "always", settings: { image: "x" } } },
      },
      400,
    ],
    [
      "400 for createOptions that are not JSON",
      {
        schemaVersion: "1.1",
        modules: {
          m: {
            type: "docker",
            status: "running",
            restartPolicy: "always",
            settings: { image: "x", createOptions: "{" },
          },
        },
      },
      400,
    ],
  ])("is refused with %s, and what ran runs on", async (_name, content, code) => {
    startDevice();
    const image = registry.push("team/app", "1", await scriptImage(STAY));
    await gateway.waitFor("d1", doneAt(desire({ m: { image } })));
    const version = gateway.desire("d1", content);
    const twin = await gateway.waitFor("d1", (after) => after["lastDesiredVersion"] === version);
    expect(codeOf(twin)).toBe(code);
    expect(moduleOf(twin)["runtimeStatus"]).toBe("running");
  });
});

describe("a pull that fails", () => {
  test("is tried again after 10 s, 20 s, 40 s …, and succeeds when the registry is back", async () => {
    const device = startDevice();
    const image = registry.push("team/app", "1", await scriptImage(STAY));
    const tries: number[] = [];
    registry.misbehave = (request, response) => {
      if (request.url?.includes("/manifests/") !== true) return false;
      tries.push((clock.now() - START) / 1000);
      if (tries.length > 4) return false;
      response.writeHead(503).end();
      return true;
    };
    const version = desire({ m: { image } });
    for (let attempt = 1; attempt <= 4; attempt++) {
      await expect.poll(() => tries.length, SOON).toBe(attempt);
      await device.settled();
      const twin = gateway.reported("d1");
      expect(twin["lastDesiredStatus"]).toMatchObject({
        code: 500,
        description: expect.stringContaining("status 503"),
      });
      await clock.advance(10_000 * 2 ** (attempt - 1));
    }
    await gateway.waitFor("d1", doneAt(version));
    expect(tries).toEqual([0, 10, 30, 70, 150]);
  });

  test("is given up after 20 retries until the version changes", async () => {
    const device = startDevice();
    await gateway.waitFor("d1", (twin) => codeOf(twin) === 417);
    const image = `${registry.host}/team/app:9`;
    desire({ m: { image } });
    for (let attempt = 0; attempt < 22; attempt++) {
      await device.settled();
      await clock.advance(10_000 * 2 ** attempt);
    }
    await device.settled();
    expect(registry.requests).toHaveLength(21);
    registry.push("team/app", "9", await scriptImage(STAY));
    await clock.advance(10 ** 10);
    expect(registry.requests).toHaveLength(21);
    await gateway.waitFor("d1", doneAt(desire({ m: { image } })));
  });

  test("leaves the running module alone", async () => {
    const device = startDevice();
    const image = registry.push("team/app", "1", await scriptImage(STAY));
    await gateway.waitFor("d1", doneAt(desire({ m: { image } })));
    desire({ m: { image: `${registry.host}/team/app:9` }, other: { image } });
    await gateway.waitFor("d1", (twin) => JSON.stringify(twin["lastDesiredStatus"]).includes("404"));
    await device.settled();
    const twin = gateway.reported("d1");
    expect(moduleOf(twin)).toMatchObject({ runtimeStatus: "running", settings: { image } });
    expect(moduleOf(twin, "other")).toMatchObject({ runtimeStatus: "running" });
  });

  test("is cut short by a newer version", async () => {
    startDevice();
    const image = registry.push("team/app", "1", await scriptImage(STAY));
    const asked = new Promise<void>((resolve) => {
      registry.misbehave = (request) => {
        if (request.url?.includes("/slow/") !== true) return false;
        resolve();
        return true;
      };
    });
    desire({ m: { image: `${registry.host}/slow/app:1` } });
    await asked;
    const twin = await gateway.waitFor("d1", doneAt(desire({ m: { image } })));
    expect(moduleOf(twin)["runtimeStatus"]).toBe("running");
  });

  test("uses the credentials that come with the desired properties", async () => {
    startDevice();
    registry.auth = { scheme: "Bearer", username: "fleet", password: "secret" };
    const image = registry.push("team/app", "1", await scriptImage(STAY));
    desire({ m: { image } });
    await gateway.waitFor("d1", (twin) => JSON.stringify(twin["lastDesiredStatus"]).includes("401"));
    const runtime = {
      type: "docker",
      settings: { registryCredentials: { acr: { address: registry.host, username: "fleet", password: "secret" } } },
    };
    const twin = await gateway.waitFor("d1", doneAt(desire({ m: { image } }, "d1", { runtime })));
    expect(JSON.stringify(twin)).not.toContain("secret");
  });

  test("an entrypoint that is not in the image is a failure, whatever the host has", async () => {
    startDevice();
    const image = registry.push("team/app", "1", buildImage([shell], { Entrypoint: ["/usr/bin/env", "true"] }));
    desire({ m: { image } });
    const twin = await gateway.waitFor("d1", (after) =>
      JSON.stringify(after["lastDesiredStatus"]).includes("no executable"),
    );
    expect(codeOf(twin)).toBe(500);
  });
});

describe("a module that ends", () => {
  test.each([
    ["never", 0, "stopped"],
    ["never", 1, "failed"],
    ["on-failure", 0, "stopped"],
    ["on-failure", 3, "backoff"],
    ["on-unhealthy", 3, "backoff"],
    ["always", 0, "backoff"],
  ])("under restart policy %s with code %i is %s", async (restartPolicy, exitCode, expected) => {
    startDevice();
    const image = registry.push("team/app", "1", await scriptImage(`exit ${exitCode}`));
    desire({ m: { image, restartPolicy } });
    const twin = await gateway.waitFor("d1", statusIs(expected));
    expect(moduleOf(twin)).toMatchObject({ exitCode, restartCount: 0, lastExitTimeUtc: "2026-11-20T00:00:00.000Z" });
    expect(codeOf(await gateway.waitFor("d1", (after) => codeOf(after) === 200))).toBe(200);
  });

  test("crashing again and again backs off 10 s, 20 s … 300 s and fails after 20 restarts", async () => {
    startDevice();
    const image = registry.push("team/app", "1", await scriptImage("exit 1"));
    desire({ m: { image, restartPolicy: "always" } });
    const starts = (): number[] => [
      ...new Set(
        gateway
          .reports("d1")
          .map(({ after }) => moduleOf(after)["lastStartTimeUtc"])
          .filter((time) => typeof time === "string")
          .map((time) => (Date.parse(time) - START) / 1000),
      ),
    ];
    for (let restart = 0; restart < 20; restart++) {
      await gateway.waitFor("d1", (after) => statusIs("backoff")(after) && moduleOf(after)["restartCount"] === restart);
      await clock.advance(Math.min(300_000, 10_000 * 2 ** restart));
    }
    const twin = await gateway.waitFor("d1", statusIs("failed"));
    expect(moduleOf(twin)).toMatchObject({ restartCount: 20, exitCode: 1 });
    expect(starts().slice(0, 8)).toEqual([0, 10, 30, 70, 150, 310, 610, 910]);
    expect(starts()).toHaveLength(21);
  });

  test("is killed when it does not listen", async () => {
    startDevice();
    const image = registry.push("team/app", "1", await scriptImage("trap '' TERM\nexec /bin/sleep 3600"));
    await gateway.waitFor("d1", doneAt(desire({ m: { image } })));
    const twin = await gateway.waitFor("d1", doneAt(desire({ m: { image, status: "stopped" } })));
    expect(moduleOf(twin)).toMatchObject({ runtimeStatus: "stopped", exitCode: 137 });
  });
});

describe("a device", () => {
  test("still has its images and modules after it was off", async () => {
    const first = startDevice();
    const image = registry.push("team/app", "1", await scriptImage(`echo up\n${STAY}`));
    const version = desire({ m: { image } });
    await gateway.waitFor("d1", doneAt(version));
    await first.close();
    expect(gateway.connected).toBe(0);
    const before = registry.requests.length;
    await clock.advance(60_000);
    const second = startDevice();
    await gateway.waitFor("d1", (twin) => moduleOf(twin)["lastStartTimeUtc"] === "2026-11-20T00:01:00.000Z");
    await second.settled();
    await expect.poll(() => second.logs("m"), SOON).toContain("up");
    expect(registry.requests.length).toBe(before);
  });

  test.skipIf(process.platform !== "linux")("that was killed ends what its modules left running", async () => {
    const image = registry.push("team/app", "1", await scriptImage(`echo $$\n${STAY}`));
    const script = join(import.meta.dirname, "killed-device.ts");
    const killed = spawn(process.execPath, [script, join(folder, "d1"), image], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = (await once(killed.stdout, "data")) as [Buffer];
    const pid = Number(line.toString());
    killed.kill("SIGKILL");
    await once(killed, "exit");
    const isAlive = (): boolean =>
      existsSync(`/proc/${pid}/cwd`) && !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
    expect(isAlive()).toBe(true);
    startDevice();
    await expect.poll(isAlive, SOON).toBe(false);
    await gateway.waitFor("d1", doneAt(desire({ m: { image } })));
  });

  test("runs on while offline and tells afterwards", async () => {
    const device = startDevice();
    const image = registry.push("team/app", "1", await scriptImage("exit 1"));
    desire({ m: { image, restartPolicy: "always" } });
    await gateway.waitFor("d1", statusIs("backoff"));
    device.setOnline(false);
    const reports = gateway.reports("d1").length;
    await clock.advance(10_000);
    await clock.advance(1);
    expect(gateway.reports("d1").length).toBe(reports);
    device.setOnline(true);
    await gateway.waitFor("d1", (twin) => moduleOf(twin)["restartCount"] === 1);
  });

  test("collects an image once it is unused for more than seven days, not before", async () => {
    const device = startDevice();
    const [old, current] = [await scriptImage(`echo old\n${STAY}`), await scriptImage(`echo new\n${STAY}`)];
    const [first, second] = [registry.push("team/app", "1", old), registry.push("team/app", "2", current)];
    await gateway.waitFor("d1", doneAt(desire({ m: { image: first } })));
    await gateway.waitFor("d1", doneAt(desire({ m: { image: second } })));
    const pull = async (image: string): Promise<number> => {
      const before = registry.requests.length;
      await gateway.waitFor("d1", doneAt(desire({ m: { image } })));
      return registry.requests.length - before;
    };
    for (let day = 0; day < 6; day++) await clock.advance(86_400_000);
    await device.settled();
    expect(await pull(first)).toBe(0);
    expect(await pull(second)).toBe(0);
    for (let day = 0; day < 9; day++) await clock.advance(86_400_000);
    await device.settled();
    // The manifest, the configuration and the one layer that only the old image had.
    expect(await pull(first)).toBe(3);
  });

  test("keeps running the image a tag named before it moved, even after it was off", async () => {
    const first = startDevice();
    const image = `${registry.host}/team/app:1`;
    const [old, moved] = [await scriptImage(`echo old\n${STAY}`), await scriptImage(`echo new\n${STAY}`)];
    registry.push("team/app", "1", old);
    await gateway.waitFor("d1", doneAt(desire({ a: { image } })));
    registry.push("team/app", "1", moved);
    const twin = await gateway.waitFor("d1", doneAt(desire({ a: { image }, b: { image } })));
    const hashes = (after: Twin): unknown[] =>
      ["a", "b"].map((name) => (moduleOf(after, name)["settings"] as { imageHash: string }).imageHash);
    expect(hashes(twin)).toEqual([old.configDigest, moved.configDigest]);
    for (let day = 0; day < 9; day++) await clock.advance(86_400_000);
    await first.close();
    const second = startDevice();
    await expect.poll(() => second.logs("a"), SOON).toContain("old");
    await expect.poll(() => second.logs("b"), SOON).toContain("new");
    expect(hashes(gateway.reported("d1"))).toEqual([old.configDigest, moved.configDigest]);
  });

  test("repeats in its next report what the hub refused", async () => {
    const device = startDevice();
    const image = registry.push("team/app", "1", await scriptImage(STAY));
    gateway.refuse = new Error("the twin is full");
    const version = desire({ m: { image } });
    await expect.poll(() => device.logs("m"), SOON).toContain("up");
    await device.settled();
    expect(device.refusedReport).toBe(gateway.refuse);
    gateway.refuse = undefined;
    await gateway.call("d1", "RestartModule", { id: "m" });
    expect(doneAt(version)(gateway.reported("d1"))).toBe(true);
  });

  test("answers ping, GetModuleLogs and RestartModule", async () => {
    const device = startDevice();
    const image = registry.push("team/app", "1", await scriptImage(`echo one; echo two\n${STAY}`));
    await gateway.waitFor("d1", doneAt(desire({ m: { image } })));
    await expect.poll(() => device.logs("m"), SOON).toContain("up");
    expect(await gateway.call("d1", "ping")).toEqual({ status: 200, payload: null });
    const request = {
      schemaVersion: "1.0",
      items: { id: "m", filter: { tail: 2 } },
      encoding: "none",
      contentType: "text",
    };
    expect(await gateway.call("d1", "GetModuleLogs", request)).toEqual({
      status: 200,
      payload: [{ id: "m", payload: "two\nup" }],
    });
    expect(await gateway.call("d1", "GetModuleLogs", { items: { id: "x" } })).toMatchObject({ status: 404 });
    expect(await gateway.call("d1", "GetModuleLogs", {})).toMatchObject({ status: 400 });
    await clock.advance(5000);
    expect(await gateway.call("d1", "RestartModule", { schemaVersion: "1.0", id: "m" })).toMatchObject({ status: 200 });
    expect(moduleOf(gateway.reported("d1"))).toMatchObject({
      runtimeStatus: "running",
      lastStartTimeUtc: "2026-11-20T00:00:05.000Z",
    });
    expect(await gateway.call("d1", "selfDestruct")).toMatchObject({ status: 404 });
  });
});
