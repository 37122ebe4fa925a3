// The demo with a small dependency layer: what it proves on the way, and that it leaves nothing behind when interrupted.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import type { DemoEvent } from "../../../local/demo/demo-events.ts";
import { runDemo, type DemoOptions } from "../../../local/demo/run-demo.ts";

const folder = mkdtempSync(join(tmpdir(), "lighter-demo-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const small = (name: string): Omit<DemoOptions, "report"> => ({
  folder: join(folder, name),
  seed: 1,
  timeScale: 600,
  dependencyFiles: 100,
  dependencyBytes: 2_000_000,
});

/** The children of this process, by /proc/<pid>/stat (proc_pid_stat(5): the parent is the second field after the name). */
function listChildren(): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
        return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) === process.pid;
      } catch {
        // It has ended since it was listed.
        return false;
      }
    });
}

test(
  "three rings take the update for kilobytes; the crash stays on the canary ring",
  { timeout: 240_000 },
  async () => {
    const events: DemoEvent[] = [];
    const demo = await runDemo({ ...small("whole"), report: (event) => events.push(event) });
    try {
      const { device, verified, stages, rollback, layers } = demo.result;
      expect(device.rebasedBytes).toBeLessThanOrEqual(8 * 1_024);
      expect(device.fullBytes).toBeGreaterThan(1_900_000);
      expect(verified).toBe("exact");
      expect(layers.rebased).toBe(layers.candidate + 1);
      expect(stages.map(({ ring, state }) => [ring, state])).toEqual([
        ["canary", "passed"],
        ["early", "passed"],
        ["fleet", "passed"],
      ]);
      expect(rollback).toMatchObject({
        state: "complete",
        exposedDevices: 1,
        restoredDevices: 1,
        untouchedDevices: 3,
        bytesBeyondCanary: 0,
      });
      expect(events.at(-1)).toMatchObject({ type: "result" });
    } finally {
      await demo.close();
    }
  },
);

test.skipIf(process.platform !== "linux")(
  "interrupted while devices run the first version, it ends every process that it started (seen in Linux's /proc)",
  { timeout: 120_000 },
  async () => {
    const before = listChildren();
    const interruption = new AbortController();
    let during: string[] = [];
    const demo = runDemo({
      ...small("interrupted"),
      report: (event) => {
        if (event.type !== "waiting" || !event.waitsFor.includes("bake")) return;
        during = listChildren();
        interruption.abort(new Error("interrupted"));
      },
      signal: interruption.signal,
    });
    await expect(demo).rejects.toThrow("interrupted");
    // Storage, the functions host, and the canary's module.
    expect(during.length).toBe(before.length + 3);
    expect(listChildren()).toEqual(before);
  },
);
