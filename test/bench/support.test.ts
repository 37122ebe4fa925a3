// The harness that benches stand on: what it counts is what happened.
import { createServer, get } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import { judge } from "../../bench/support/bench.ts";
import { createCountingProxy } from "../../bench/support/counting-proxy.ts";
import { measureProcess } from "../../bench/support/measure-process.ts";
import { createFileMaker, createFileSizes } from "../../bench/support/seeded-files.ts";
import { createSeededText } from "../../bench/support/seeded-text.ts";
import { median } from "../../bench/support/statistics.ts";
import { missingTools } from "../support/tools.ts";

describe.skipIf(missingTools("time"))("measuring a process", () => {
  test("counts the CPU and memory of children, and not its own", async () => {
    const ballast = Buffer.alloc(400_000_000, 1);
    const burn = "const b = Buffer.alloc(200e6, 1); for (const t = Date.now(); Date.now() - t < 300; ); b.length";
    const cost = await measureProcess("sh", ["-c", `${process.execPath} -e '${burn}'; echo done`]);
    expect(ballast.length).toBe(400_000_000);
    expect(cost.output).toBe("done\n");
    expect(cost.cpuSeconds).toBeGreaterThan(0.25);
    expect(cost.wallSeconds).toBeGreaterThan(0.3);
    expect(cost.peakRssBytes).toBeGreaterThan(200e6);
    expect(cost.peakRssBytes).toBeLessThan(350e6);
  });

  test("fails with the program's words when the program fails", async () => {
    await expect(measureProcess("sh", ["-c", "echo no luck >&2; exit 3"])).rejects.toThrow(/exited with 3:\nno luck/);
  });
});

describe("the counting proxy", () => {
  const server = createServer((_request, response) => response.end(Buffer.alloc(100_000)));
  afterAll(() => server.close());

  test("counts what the registry sent, headers included, and starts over when asked", async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const proxy = await createCountingProxy((server.address() as AddressInfo).port);
    const received = await new Promise<number>((resolve, reject) => {
      get(`http://${proxy.host}/`, (response) => {
        response.toArray().then((chunks) => resolve(Buffer.concat(chunks).length), reject);
      }).on("error", reject);
    });
    expect(received).toBe(100_000);
    const counted = proxy.takeBytesRead();
    expect(counted).toBeGreaterThan(100_000);
    expect(counted).toBeLessThan(101_000);
    expect(proxy.takeBytesRead()).toBe(0);
    await proxy.close();
  });
});

describe("seeded fixtures", () => {
  test("are the same for the same seed, and compress like source code", () => {
    const text = createSeededText(1, 1 << 20);
    expect(text.equals(createSeededText(1, 1 << 20))).toBe(true);
    expect(text.equals(createSeededText(2, 1 << 20))).toBe(false);
    expect(text.includes(0)).toBe(false);
    expect(gzipSync(text).length / text.length).toBeCloseTo(0.24, 1);
  });

  test("hold files of the sizes and the share of noise asked for", () => {
    const sizes = createFileSizes(1, "sizes", 1_000, 20_000_000);
    expect(sizes).toHaveLength(1_000);
    expect(sizes.reduce((sum, size) => sum + size, 0) / 20_000_000).toBeCloseTo(1, 2);
    const makeFile = createFileMaker(1);
    const file = makeFile("a/b.py", 100_000, 0.5, 12_345);
    expect(file.length).toBe(100_000);
    expect(file.toString("latin1", 0, 9)).toBe("# a/b.py\n");
    expect(gzipSync(file.subarray(50_000)).length).toBeGreaterThan(49_000);
    expect(gzipSync(file.subarray(0, 50_000)).length).toBeLessThan(20_000);
    expect(makeFile("a/b.py", 100_000, 0.5, 12_345).equals(file)).toBe(true);
  });
});

describe("statistics and targets", () => {
  test("take the middle", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(median([])).toBeNaN();
  });

  test("judge in the direction asked for, and not what was not measured", () => {
    const plain = (value: number): string => String(value);
    expect(judge("x", 6, ">=", 6, plain)).toEqual({ what: "x", want: "≥ 6", got: "6", met: true });
    expect(judge("x", 5, ">=", 6, plain).met).toBe(false);
    expect(judge("x", 7, "<=", 6, plain).met).toBe(false);
    expect(judge("x", undefined, "<=", 6, plain)).toMatchObject({ got: "not measured", met: undefined });
  });
});
