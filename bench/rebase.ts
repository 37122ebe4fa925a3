// Rebasing a re-created twin: `lighter rebase`, verification included, against the classic recipe and the bare floor.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { assembleImage } from "../local/demo/assemble-image.ts";
import { pushImage } from "../local/demo/push-image.ts";
import { findTool } from "../test/support/tools.ts";
import { type Bench, judge, printTable, printTargets, type Target } from "./support/bench.ts";
import { type BenchRegistry, startBenchRegistry } from "./support/bench-registry.ts";
import { measureClassicRecipe } from "./support/classic-recipe.ts";
import { buildLighter, measureLighter } from "./support/lighter-command.ts";
import { measureProcess, type ProcessCost } from "./support/measure-process.ts";
import { median } from "./support/statistics.ts";
import { openTwinFixture, type TwinFixture, type TwinPair } from "./support/twin-fixture.ts";

/** What one run cost. */
interface Sample {
  readonly wallSeconds: number;
  readonly cpuSeconds: number;
  readonly peakRssBytes: number;
  readonly registryBytes: number;
}

/** Medians over the runs of one program, and the spread of its CPU time. */
interface Summary extends Sample {
  readonly cpuRange: readonly [number, number];
}

/** A program to measure; `run` is called once per round with the round's number. */
interface Peer {
  readonly name: string;
  run(round: number): Promise<ProcessCost>;
}

const CACHE = resolve(import.meta.dirname, "../.lighter/bench");
const KILOBYTES_64 = 65_536;

/** Names of the rows, which the targets look up. */
const COLD = "lighter rebase, cold";
const WARM = "lighter rebase, anchor indexed";
const NUMBERED = "lighter rebase, cold, model in a numbered folder";
const CLASSIC = "classic recipe (buildah bud + push)";
const FLOOR_FILES = "bare gunzip + sha256, files";
const FLOOR_REGISTRY = "bare gunzip + sha256, registry";
const LARGE = "lighter rebase, cold, 4 × the bytes";

/** The bench of the image core; flags: `--runs N`, `--no-buildah`, `--no-floor`, `--no-large`, `--no-build`. */
export const rebaseBench: Bench = {
  name: "rebase",
  summary: "rebase of a 12,500-file twin against buildah and the bare floor",
  async run(args) {
    const flags = parseFlags(args);
    if (flags.build) buildLighter();
    const registry = await startBenchRegistry();
    const scratch = mkdtempSync(join(tmpdir(), "lighter-bench-rebase-"));
    try {
      const fixture = await openTwinFixture(CACHE, 1);
      await pushPair(registry, "bench/twin", fixture.versions);
      await pushPair(registry, "bench/numbered", fixture.numbered);
      const where = `registry: ${registry.name} on the loopback; median of ${flags.runs}`;
      process.stdout.write(`${describeFixture(fixture)}; ${where}\n`);
      const samples = await measureInTurns(listPeers(registry, fixture, scratch, flags), flags.runs, registry);
      if (flags.large) {
        await pushPair(registry, "bench/large", (await openTwinFixture(CACHE, 4)).versions);
        const large: Peer = { name: LARGE, run: (round) => rebase(registry, "bench/large", `cold-${round}`) };
        for (const [name, sample] of await measureInTurns([large], flags.runs, registry)) samples.set(name, sample);
      }
      printSamples(samples);
      return printTargets(listTargets(samples, fixture));
    } finally {
      await registry.close();
      rmSync(scratch, { recursive: true, force: true });
    }
  },
};

interface Flags {
  readonly runs: number;
  readonly build: boolean;
  readonly buildah: boolean;
  readonly floor: boolean;
  readonly large: boolean;
}

function parseFlags(args: readonly string[]): Flags {
  const on = { type: "boolean", default: true } as const;
  const { values } = parseArgs({
    args: [...args],
    allowNegative: true,
    options: { runs: { type: "string", default: "5" }, build: on, buildah: on, floor: on, large: on },
  });
  const runs = Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1) throw new RangeError(`--runs: got ${values.runs}, want a positive integer`);
  if (values.buildah && findTool("buildah") === undefined)
    throw new Error("buildah is missing; leave it out with --no-buildah");
  return { ...values, runs };
}

function listPeers(registry: BenchRegistry, fixture: TwinFixture, scratch: string, flags: Flags): Peer[] {
  const peers: Peer[] = [
    { name: COLD, run: (round) => rebase(registry, "bench/twin", `cold-${round}`) },
    { name: NUMBERED, run: (round) => rebase(registry, "bench/numbered", `cold-${round}`) },
    { name: WARM, run: (round) => rebaseWithIndexedAnchor(registry, round, join(scratch, `warm-${round}`)) },
  ];
  if (flags.floor) {
    const floor = writeFloor(scratch);
    const blobs = fixture.versions.flatMap(({ unshared }) => unshared);
    const urls = blobs.map(({ digest }) => `http://${registry.countedHost}/v2/bench/twin/blobs/${digest}`);
    peers.push(
      { name: FLOOR_FILES, run: () => measureProcess(process.execPath, [floor, ...blobs.map(({ file }) => file)]) },
      { name: FLOOR_REGISTRY, run: () => measureProcess(process.execPath, [floor, ...urls]) },
    );
  }
  if (flags.buildah) {
    const run = (round: number): Promise<ProcessCost> =>
      measureClassicRecipe(registry.countedHost, "bench/twin", `classic-${round}`);
    peers.push({ name: CLASSIC, run });
  }
  return peers;
}

/** Pushes versions 1 and 2, and as `base` the layers they share. */
async function pushPair(registry: BenchRegistry, repository: string, [one, two]: TwinPair): Promise<void> {
  const base = assembleImage({
    created: "2026-01-05T06:00:00Z",
    config: {},
    layers: one.shared.map((layer) => ({ layer, createdBy: "base" })),
  });
  for (const [tag, image] of Object.entries({ base, 1: one.image, 2: two.image })) {
    await pushImage(image, { registryUrl: registry.url, repository, tag });
  }
}

/** Writes the floor as plain JavaScript, so that it pays no more for its language than the compiled command does. */
function writeFloor(folder: string): string {
  const source = readFileSync(resolve(import.meta.dirname, "support/bare-floor.ts"), "utf8");
  const file = join(folder, "bare-floor.mjs");
  writeFileSync(file, stripTypeScriptTypes(source));
  return file;
}

async function rebase(registry: BenchRegistry, repository: string, tag: string, cache?: string): Promise<ProcessCost> {
  const image = `${registry.countedHost}/${repository}`;
  const cost = await measureLighter([
    "rebase",
    `${image}:1`,
    `${image}:2`,
    "--tag",
    tag,
    ...(cache === undefined ? [] : ["--cache", cache]),
  ]);
  if (cost.answer["verified"] !== "exact") throw new Error(`the rebase is not exact: ${cost.output}`);
  return cost;
}

/** Indexes version 1 by planning from the shared base to it, as its own release would have, then rebases. */
async function rebaseWithIndexedAnchor(registry: BenchRegistry, round: number, cache: string): Promise<ProcessCost> {
  const image = `${registry.countedHost}/bench/twin`;
  await measureLighter(["plan", `${image}:base`, `${image}:1`, "--cache", cache]);
  registry.takeBytesRead();
  return await rebase(registry, "bench/twin", `warm-${round}`, cache);
}

/** Every peer once a round, so that a busy moment of the machine hits them alike; progress goes to stderr. */
async function measureInTurns(
  peers: readonly Peer[],
  runs: number,
  registry: BenchRegistry,
): Promise<Map<string, Summary>> {
  const taken = new Map<string, Sample[]>(peers.map(({ name }) => [name, []]));
  for (let round = 1; round <= runs; round++) {
    for (const peer of peers) {
      registry.takeBytesRead();
      const cost = await peer.run(round);
      taken.get(peer.name)?.push({ ...cost, registryBytes: registry.takeBytesRead() });
      const figures = `${cost.wallSeconds.toFixed(2)} s wall, ${cost.cpuSeconds.toFixed(2)} s CPU`;
      process.stderr.write(`round ${round}/${runs}: ${peer.name}: ${figures}\n`);
    }
  }
  return new Map([...taken].map(([name, samples]) => [name, summarise(samples)]));
}

function summarise(samples: readonly Sample[]): Summary {
  const middle = (field: keyof Sample): number => median(samples.map((sample) => sample[field]));
  return {
    wallSeconds: middle("wallSeconds"),
    cpuSeconds: middle("cpuSeconds"),
    peakRssBytes: middle("peakRssBytes"),
    registryBytes: middle("registryBytes"),
    cpuRange: [
      Math.min(...samples.map(({ cpuSeconds }) => cpuSeconds)),
      Math.max(...samples.map(({ cpuSeconds }) => cpuSeconds)),
    ],
  };
}

const seconds = (value: number): string => value.toFixed(2);
const megabytes = (value: number): string => `${(value / 1e6).toFixed(1)} MB`;
const times = (value: number): string => `${value.toFixed(2)} ×`;
const bytes = (value: number): string => `${value.toLocaleString("en")} B`;

function describeFixture({ versions: [one, two], files }: TwinFixture): string {
  const total = (layers: readonly { size: number; tarSize: number }[], field: "size" | "tarSize"): string =>
    megabytes(layers.reduce((sum, layer) => sum + layer[field], 0));
  const unshared = [...one.unshared, ...two.unshared];
  return (
    `fixture: ${one.shared.length} shared layers of ${total(one.shared, "tarSize")} (${total(one.shared, "size")} compressed); ` +
    `unshared on both sides ${total(unshared, "tarSize")} (${total(unshared, "size")} compressed), ${files} files a side`
  );
}

function printSamples(samples: ReadonlyMap<string, Summary>): void {
  const reference = samples.get(COLD);
  const rows = [...samples].map(([name, sample]) => [
    name,
    seconds(sample.wallSeconds),
    seconds(sample.cpuSeconds),
    sample.cpuRange.map(seconds).join("–"),
    reference ? times(sample.wallSeconds / reference.wallSeconds) : "",
    reference ? times(sample.cpuSeconds / reference.cpuSeconds) : "",
    megabytes(sample.peakRssBytes),
    bytes(sample.registryBytes),
  ]);
  printTable(["Program", "Wall s", "CPU s", "Range", "Wall", "CPU", "Peak RSS", "Registry bytes read"], rows);
}

function listTargets(samples: ReadonlyMap<string, Summary>, { versions: [one, two] }: TwinFixture): Target[] {
  const value = (name: string, field: keyof Sample): number | undefined => samples.get(name)?.[field];
  const ratio = (over: string, under: string, field: keyof Sample): number | undefined => {
    const [a, b] = [value(over, field), value(under, field)];
    return a === undefined || b === undefined ? undefined : a / b;
  };
  const sizeOf = (layers: readonly { size: number }[]): number => layers.reduce((sum, { size }) => sum + size, 0);
  const bothSides = sizeOf([...one.unshared, ...two.unshared]) + KILOBYTES_64;
  const newSide = sizeOf(two.unshared) + KILOBYTES_64;
  const growth = ratio(LARGE, COLD, "peakRssBytes");
  return [
    judge("CPU of the classic recipe over ours", ratio(CLASSIC, COLD, "cpuSeconds"), ">=", 6, times),
    judge("wall time of the classic recipe over ours", ratio(CLASSIC, COLD, "wallSeconds"), ">=", 5, times),
    judge("our CPU over the bare floor, same registry", ratio(COLD, FLOOR_REGISTRY, "cpuSeconds"), "<=", 1.6, times),
    judge(
      "our wall time over the bare floor, same registry",
      ratio(COLD, FLOOR_REGISTRY, "wallSeconds"),
      "<=",
      1.6,
      times,
    ),
    judge("registry bytes read, cold", value(COLD, "registryBytes"), "<=", bothSides, bytes),
    judge("registry bytes read, anchor indexed", value(WARM, "registryBytes"), "<=", newSide, bytes),
    judge("peak RSS", value(COLD, "peakRssBytes"), "<=", 200_000_000, megabytes),
    judge(
      "peak RSS with 4 × the bytes, change",
      growth && Math.abs(growth - 1) * 100,
      "<=",
      20,
      (v) => `${v.toFixed(1)} %`,
    ),
  ];
}
