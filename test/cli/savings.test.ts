// `lighter savings` as a real process: its numbers against what real pulls of real images counted.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createControlDevice } from "../../local/edge-device/control-device.ts";
import { createRegistry, type LocalRegistry } from "../../local/registry/registry.ts";
import { createDirectEngine } from "../../src/adapters/direct-engine/index.ts";
import { createRegistries, type ClosableRegistries } from "../../src/adapters/registry/index.ts";
import { LINE_TAGS, pushLine } from "../support/push-line.ts";
import { tryRun, type RunResult } from "../support/run.ts";
import { pushTestImage } from "../support/test-image.ts";

const MAIN = resolve(import.meta.dirname, "../../src/cli/main.ts");
const folder = mkdtempSync(join(tmpdir(), "lighter-savings-"));
let registry: LocalRegistry;
let registries: ClosableRegistries;

const lighter = (...args: string[]): Promise<RunResult> => tryRun(process.execPath, [MAIN, ...args]);

interface Report {
  readonly start: { readonly tag: string };
  readonly pushes: readonly {
    readonly tag: string;
    readonly outcome: string;
    readonly bytes: { readonly full: number; readonly delta: number };
    readonly money: Record<"full" | "delta" | "saved", { readonly amount: number; readonly currency: string }>;
    readonly drift: { readonly class: string; readonly packages: readonly object[] };
    readonly config: { readonly changed: readonly string[] };
  }[];
  readonly total: {
    readonly bytes: { readonly full: number; readonly delta: number };
    readonly money: Report["pushes"][number]["money"];
  };
  readonly skipped: readonly { readonly tag: string; readonly code: string }[];
  readonly orderedBy: string;
}

async function report(...args: string[]): Promise<Report> {
  const { code, stdout, stderr } = await lighter("savings", ...args, "--json");
  expect([code, stderr]).toEqual([0, ""]);
  return JSON.parse(stdout) as Report;
}

const app = (): string => `${registry.host}/team/app`;

beforeAll(async () => {
  registry = await createRegistry({ folder: join(folder, "registry") });
  registries = createRegistries({ credentials: async () => undefined });
  await pushLine(registries.open(registry.host, "team/app"));
});

afterAll(async () => {
  await registries.close();
  await registry.close();
  rmSync(folder, { recursive: true, force: true });
});

/** What each push costs a device that pulls one tag after the other: on the wire, and in bodies. */
interface Pulled {
  readonly wire: number;
  readonly bodies: number;
}

async function pullAll(label: string, references: readonly (string | undefined)[]): Promise<Pulled[]> {
  const host = new URL(await registry.endpoint(label)).host;
  const device = createControlDevice({ deviceId: label, folder: join(folder, label) });
  const pulled: Pulled[] = [];
  for (const reference of references) {
    const before = registry.traffic(label).responseBytes;
    const bodies = reference === undefined ? 0 : (await device.pull(`${host}/team/app:${reference}`)).bytesPulled;
    pulled.push({ wire: registry.traffic(label).responseBytes - before, bodies });
  }
  return pulled;
}

/** Rebases each push onto what devices hold by then; undefined where they have nothing to pull. */
async function releaseAll(): Promise<(string | undefined)[]> {
  const engine = createDirectEngine({ registries });
  let held = `${app()}:1`;
  const tags: (string | undefined)[] = ["1"];
  for (const tag of LINE_TAGS.slice(1)) {
    const { outcome, result, verified } = await engine.rebase({ anchor: held, candidate: `${app()}:${tag}` });
    expect(verified).toBe("exact");
    held = result.reference;
    tags.push(outcome === "nothing" ? undefined : `iot-${tag}`);
  }
  return tags;
}

describe("lighter savings", () => {
  test("says of ten pushes what real pulls count, and knows nothing of rebased images", async () => {
    const before = await report(app(), "--last", "10", "--devices", "1000");
    const full = (await pullAll("full", LINE_TAGS)).slice(1);
    const rebased = (await pullAll("rebased", await releaseAll())).slice(1);
    const after = await report(app(), "--last", "10", "--devices", "1000", "--cache", join(folder, "cache"));
    expect(after).toEqual(before);

    const { start, pushes, total, skipped, orderedBy } = after;
    expect([start.tag, orderedBy, skipped]).toEqual(["1", "created", []]);
    expect(pushes.map(({ tag }) => tag)).toEqual(LINE_TAGS.slice(1));
    for (const [at, { bytes }] of pushes.entries()) {
      expect(bytes).toMatchObject({ full: full[at]?.bodies, delta: rebased[at]?.bodies });
      expect(Math.abs(bytes.full - (full[at]?.wire ?? 0))).toBeLessThanOrEqual((full[at]?.wire ?? 0) / 100);
      expect(Math.abs(bytes.delta - (rebased[at]?.wire ?? 0))).toBeLessThanOrEqual((rebased[at]?.wire ?? 0) / 100);
    }
    const sum = (pulls: readonly Pulled[]): number => pulls.reduce((bytes, { wire }) => bytes + wire, 0);
    expect(total.bytes.full / sum(full)).toBeCloseTo(1, 2);
    expect(total.bytes.delta / sum(rebased)).toBeCloseTo(1, 2);
    expect(total.money.full).toEqual({ amount: Math.round(total.bytes.full * 1000 * 24e-7) / 100, currency: "USD" });
    expect(total.money.saved.amount).toBeCloseTo(total.money.full.amount - total.money.delta.amount, 2);
  });

  test("says why each push cost what it did", async () => {
    const { pushes } = await report(app());
    const facts = Object.fromEntries(
      pushes.map(({ tag, outcome, drift, config }) => [tag, [outcome, drift.class, drift.packages, config.changed]]),
    );
    expect(facts).toMatchObject({
      2: ["rebase", "model", [], []],
      4: ["nothing", "none", [], []],
      5: ["rebase", "code", [], []],
      6: ["rebase", "dependencies", [{ ecosystem: "conda", name: "numpy", from: "1.26.4", to: "2.0.1" }], []],
      9: ["rebase", "config", [], ["Env.THREADS"]],
    });
  });

  test("prints a table with a row per push and a total", async () => {
    const { code, stdout, stderr } = await lighter("savings", app(), "--last", "5", "--devices", "100000");
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).not.toContain("\u001b");
    for (const text of ["100,000 devices", "5 pushes", "saves", "numpy 1.26.4 → 2.0.1", "config: Env.THREADS"])
      expect(stdout).toContain(text);
    expect(stdout.match(/│ (?:5|6|7|8|9|10) +│/g)).toHaveLength(6);
  });

  test("takes tariffs as a price or a file, and other counts of pushes and devices", async () => {
    const file = join(folder, "tariff.json");
    const pool = { sims: 500, gigabytes: 1, price: 720 };
    writeFileSync(file, JSON.stringify({ currency: "EUR", perGigabyte: 9, pool }));
    const cheap = await report(app(), "--last", "2", "--devices", "10", "--tariff", "1.5");
    expect(cheap.pushes.map(({ tag }) => tag)).toEqual(["9", "10"]);
    expect(cheap.start.tag).toBe("8");
    expect(cheap.total.money.full.amount).toBeCloseTo((cheap.total.bytes.full * 10 * 1.5) / 1e9, 2);
    const pooled = await report(app(), "--last", "2", "--devices", "10", "--tariff", file);
    expect(pooled.total.money).toEqual({
      full: { amount: 720, currency: "EUR" },
      delta: { amount: 720, currency: "EUR" },
      saved: { amount: 0, currency: "EUR" },
    });
  });

  test("keeps layer indexes in a folder, and then reads a layer only for the files it ships", async () => {
    const cache = join(folder, "kept");
    const counted = async (label: string): Promise<number> => {
      const host = new URL(await registry.endpoint(label)).host;
      await report(`${host}/team/app`, "--cache", cache);
      return registry.traffic(label).responseBytes;
    };
    const cold = await counted("cold");
    const warm = await counted("warm");
    expect(warm).toBeLessThan(cold / 2);
  });

  test("skips what cannot be compared and says so, and never a row less than can be", async () => {
    const repository = registries.open(registry.host, "team/mixed");
    await pushLine(repository);
    const arm = { os: "linux", architecture: "arm64" };
    await pushTestImage(repository, "1-arm64", { layers: [{ arm: "x" }], platform: arm });
    const { skipped, pushes } = await report(`${registry.host}/team/mixed`, "--platform", "linux/amd64");
    expect(pushes).toHaveLength(9);
    expect(skipped).toMatchObject([{ tag: "1-arm64", code: "PLATFORM_MISMATCH" }]);
    const { stdout } = await lighter("savings", `${registry.host}/team/mixed`);
    expect(stdout).toContain("skipped 1-arm64");
  });

  test("of a repository with one image exits 1, with bad input 2, without a registry 3", async () => {
    await pushTestImage(registries.open(registry.host, "team/single"), "1", { layers: [{ a: "b" }] });
    const single = await lighter("savings", `${registry.host}/team/single`);
    expect([single.code, single.stdout]).toEqual([1, expect.stringContaining("nothing to compare")]);
    const wrong = async (...args: string[]): Promise<unknown[]> => {
      const { code, stdout } = await lighter("savings", ...args, "--json");
      return [code, stdout === "" ? "" : (JSON.parse(stdout) as { error: { code: string } }).error.code];
    };
    expect(await wrong(`${app()}:2`)).toEqual([2, "REFERENCE_INVALID"]);
    expect(await wrong(`${registry.host}/team/none`)).toEqual([2, "NAME_UNKNOWN"]);
    expect(await wrong(app(), "--last", "0")).toEqual([2, ""]);
    expect(await wrong(app(), "--devices", "many")).toEqual([2, ""]);
    expect(await wrong(app(), "--tariff", "no-such-file")).toEqual([2, "TARIFF_INVALID"]);
    expect(await wrong(app(), "--tariff", MAIN)).toEqual([2, "TARIFF_INVALID"]);
    expect(await wrong(app(), "--tariff", "-3")).toEqual([2, "TARIFF_INVALID"]);
    const gone = await createRegistry({ folder: join(folder, "gone") });
    await gone.close();
    expect(await wrong(`${gone.host}/team/app`)).toEqual([3, "UNREACHABLE"]);
  });
});
