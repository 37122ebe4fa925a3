// The life of a device and its modules: exits, restarts, absence, collection, and direct methods.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import type { Twin } from "./device-fixture.ts";
import {
  START,
  SOON,
  folder,
  registry,
  gateway,
  clock,
  startDevice,
  scriptImage,
  STAY,
  desire,
  codeOf,
  moduleOf,
  doneAt,
  statusIs,
} from "./device-fixture.ts";

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
    const script = fileURLToPath(import.meta.resolve("./killed-device.ts"));
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
