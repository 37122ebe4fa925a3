// `lighter plan`, `rebase` and `verify` as real processes against the embedded registry.
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createRegistry, type LocalRegistry } from "../../local/registry/registry.ts";
import { createRegistries, type ClosableRegistries } from "../../src/adapters/registry/index.ts";
import { sha256 } from "../support/memory-registries.ts";
import { pushTestImage, type ImageFacts } from "../support/test-image.ts";

const MAIN = resolve(import.meta.dirname, "../../src/cli/main.ts");
const folder = mkdtempSync(join(tmpdir(), "lighter-cli-"));
let registry: LocalRegistry;
let registries: ClosableRegistries;
let host = "";

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function lighter(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  return new Promise((done, reject) => {
    const child = spawn(process.execPath, [MAIN, ...args], { env: { ...process.env, ...env } });
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.on("error", reject);
    child.on("close", (code) => done({ code, stdout, stderr }));
  });
}

const ref = (tag: string): string => `${host}/team/app:${tag}`;
const image = (model: string, mtime: number, extra: Partial<ImageFacts> = {}): ImageFacts => ({
  layers: [
    { base: "base" },
    { "app/": {}, "app/model.pkl": model },
    { "lib/": {}, "lib/x.py": { content: "x", mtime } },
  ],
  config: { Cmd: ["run"] },
  ...extra,
});

beforeAll(async () => {
  registry = await createRegistry({ folder: join(folder, "registry") });
  registries = createRegistries({ credentials: async () => undefined });
  host = registry.host;
  const repository = registries.open(host, "team/app");
  await pushTestImage(repository, "1", image("one", 1));
  await pushTestImage(repository, "2", image("two", 2));
  await pushTestImage(repository, "arm", image("two", 2, { platform: { os: "linux", architecture: "arm64" } }));
  await pushTestImage(repository, "other", { layers: [{ else: "x" }] });
});

afterAll(async () => {
  await registries.close();
  await registry.close();
  rmSync(folder, { recursive: true, force: true });
});

describe("lighter plan", () => {
  test("prints one JSON object with the documented fields", async () => {
    const { code, stdout, stderr } = await lighter(["plan", ref("1"), ref("2"), "--json"]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(JSON.parse(stdout)).toEqual({
      outcome: "rebase",
      reason: "0 files added, 1 changed, 0 removed; 0 settings changed",
      anchor: { reference: ref("1"), digest: expect.stringMatching(/^sha256:/) },
      candidate: { reference: ref("2"), digest: expect.stringMatching(/^sha256:/) },
      sharedLayers: 1,
      bytes: { full: expect.any(Number), delta: expect.any(Number), estimated: false },
      files: { added: 0, changed: 1, removed: 0, ignored: { mtimeOnly: 1, pyc: 0, volatile: 0 } },
      drift: { class: "model", packages: [] },
      config: { changed: [] },
    });
    expect(stdout.trimEnd()).not.toContain("\n");
  });

  test("prints a table without colour or bars when it is not on a terminal", async () => {
    const { code, stdout, stderr } = await lighter(["plan", ref("1"), ref("2")], { FORCE_COLOR: "1", CI: "1" });
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).not.toContain("\u001b");
    expect(stdout).toContain("1 changed");
    expect(stdout).toContain(ref("2"));
  });

  test("says that there is nothing to do, or no common layer", async () => {
    const same = await lighter(["plan", ref("1"), ref("1"), "--json"]);
    expect([same.code, JSON.parse(same.stdout).outcome]).toEqual([0, "nothing"]);
    const other = await lighter(["plan", ref("1"), ref("other")]);
    expect(other.code).toBe(0);
    expect(other.stdout).toContain("no common layer");
  });
});

describe("lighter rebase", () => {
  test("pushes, verifies, and gives the same digest when repeated with a cache", async () => {
    const cache = join(folder, "cache");
    const args = ["rebase", ref("1"), ref("2"), "--tag", "edge-2", "--engine", "direct", "--cache", cache, "--json"];
    const outcomes = [await lighter(args), await lighter(args)];
    expect(outcomes.map(({ code, stderr }) => [code, stderr])).toEqual([
      [0, ""],
      [0, ""],
    ]);
    const [first, second] = outcomes.map(({ stdout }) => JSON.parse(stdout));
    expect(first).toMatchObject({
      verified: "exact",
      result: { reference: ref("edge-2") },
      layers: [{ size: expect.any(Number) }],
    });
    expect(second).toEqual(first);
    expect(readdirSync(cache, { recursive: true }).length).toBeGreaterThan(4);
    const raw = await registries.open(host, "team/app").getManifest("edge-2");
    expect(raw.digest).toBe(first.result.digest);
  });

  test("tags iot-<tag> by default, and takes a whole reference for another repository", async () => {
    const near = await lighter(["rebase", ref("1"), ref("2")]);
    expect([near.code, near.stderr]).toEqual([0, ""]);
    expect(near.stdout).toContain("exact");
    const target = `${host}/fleet/app:2`;
    const far = await lighter(["rebase", ref("1"), ref("2"), "--tag", target, "--json"]);
    expect([far.code, JSON.parse(far.stdout).result.reference]).toEqual([0, target]);
    const [one, two] = [registries.open(host, "team/app"), registries.open(host, "fleet/app")];
    expect((await one.getManifest("iot-2")).digest).toBe((await two.getManifest("2")).digest);
  });
});

describe("lighter verify", () => {
  test("exits 0 for an exact image and 1 for another, naming the differences", async () => {
    await lighter(["rebase", ref("1"), ref("2"), "--tag", "v"]);
    const exact = await lighter(["verify", ref("v"), ref("2"), "--anchor", ref("1"), "--json"]);
    expect([exact.code, JSON.parse(exact.stdout).verified]).toEqual([0, "exact"]);
    const other = await lighter(["verify", ref("1"), ref("2"), "--json"]);
    expect([other.code, JSON.parse(other.stdout).verified]).toEqual([1, ["differs /app/model.pkl"]]);
  });
});

describe("what goes wrong", () => {
  const wrong = async (args: readonly string[]): Promise<[number | null, string]> => {
    const { code, stdout, stderr } = await lighter([...args, "--json"]);
    expect(stderr).toMatch(/^lighter: |^error: /);
    expect(stderr).not.toContain("    at ");
    return [code, stdout === "" ? "" : JSON.parse(stdout).error.code];
  };

  test("in usage or input exits 2", async () => {
    expect(await wrong(["plan", ref("1")])).toEqual([2, ""]);
    expect(await wrong(["plan", ref("1"), ref("2"), "--nonsense"])).toEqual([2, ""]);
    expect(await wrong(["rebase", ref("1"), ref("2"), "--engine", "other"])).toEqual([2, ""]);
    expect(await wrong(["plan", "UPPER CASE", ref("2")])).toEqual([2, "REFERENCE_INVALID"]);
    expect(await wrong(["plan", ref("1"), ref("gone")])).toEqual([2, "MANIFEST_UNKNOWN"]);
    expect(await wrong(["plan", ref("1"), ref("arm")])).toEqual([2, "PLATFORM_MISMATCH"]);
    expect(await wrong(["plan", ref("1"), ref("2"), "--platform", "linux"])).toEqual([2, "PLATFORM_INVALID"]);
  });

  test("outside exits 3", async () => {
    // A port that is held, so that nobody else answers on it, by a server that hangs up on everyone.
    const silent = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const { port } = silent.address() as AddressInfo;
    expect(await wrong(["plan", `127.0.0.1:${port}/app:1`, ref("2")])).toEqual([3, "UNREACHABLE"]);
    silent.close();
  });

  test("with a layer that is no gzip exits 2", async () => {
    const repository = registries.open(host, "team/app");
    const raw = await repository.getManifest("2");
    const manifest = JSON.parse(Buffer.from(raw.bytes).toString());
    const junk = Buffer.from("no gzip at all");
    const layer = { ...manifest.layers[1], digest: sha256(junk), size: junk.length };
    await repository.writeBlob(layer, junk);
    const layers = [manifest.layers[0], layer, manifest.layers[2]];
    const bytes = Buffer.from(JSON.stringify({ ...manifest, layers }));
    await repository.putManifest("junk", { mediaType: raw.mediaType, bytes });
    expect(await wrong(["plan", ref("1"), ref("junk")])).toEqual([2, "LAYER_CORRUPT"]);
  });

  test("is not asking for help", async () => {
    const { code, stdout } = await lighter(["--help"]);
    expect(code).toBe(0);
    for (const command of ["plan", "rebase", "verify"]) expect(stdout).toContain(command);
  });
});
