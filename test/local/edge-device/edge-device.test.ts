// A device carries out deployments: pulls, updates, rolls back, retries, and says so in the documented words.
import { describe, expect, test } from "vitest";
import {
  START,
  SOON,
  registry,
  gateway,
  clock,
  shell,
  startDevice,
  scriptImage,
  STAY,
  desire,
  codeOf,
  moduleOf,
  doneAt,
  statusIs,
} from "./device-fixture.ts";
import { buildImage, buildLayer, executable } from "./test-images.ts";

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
