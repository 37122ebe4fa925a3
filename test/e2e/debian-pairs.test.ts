// Real packages, compiled at two times and in two versions: what a rebase ships of them, and that nothing else differs.
import {
  chmodSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createRegistry, type LocalRegistry } from "../../local/registry/registry.ts";
import { createRegistries, type ClosableRegistries } from "../../src/adapters/registry/index.ts";
import type { Descriptor } from "../../src/core/image/descriptor.ts";
import { downloadPackage, installPackages, rebuildPackage, versionOf } from "../support/debian-packages.ts";
import { missingRoot } from "../support/dockerd.ts";
import { sha256 } from "../support/memory-registries.ts";
import { run } from "../support/run.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { missingTools } from "../support/tools.ts";
import { readTreeFacts } from "../support/tree-facts.ts";

const skip = missingTools("apt-get", "apt-cache", "dpkg-deb", "python3", "skopeo", "umoci", "tar") ?? missingRoot();
const CLI = resolve(import.meta.dirname, "../../src/cli/main.ts");
const SITE = "usr/lib/python3/dist-packages";
const DAY = 24 * 3600;
const START = Date.UTC(2026, 0, 5, 8) / 1000;

interface Plan {
  readonly outcome: string;
  readonly verified: string;
  readonly bytes: { readonly full: number; readonly delta: number };
  readonly files: {
    readonly added: number;
    readonly changed: number;
    readonly removed: number;
    readonly ignored: { readonly pyc: number };
  };
  readonly drift: { readonly class: string; readonly packages: readonly object[] };
}

describe.skipIf(skip !== undefined)("images of Debian's Python packages", () => {
  let folder: string;
  let registry: LocalRegistry;
  let registries: ClosableRegistries;
  let [before, after] = ["", ""];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "lighter-debian-"));
    registry = await createRegistry({ folder: join(folder, "registry") });
    registries = createRegistries({ credentials: async () => undefined });
    const [base, numpy] = (await Promise.all(["base-files", "python3-numpy"].map(downloadPackage))) as [string, string];
    before = await versionOf(numpy);
    after = `${before}+again1`;
    const rebuilt = join(folder, "numpy.deb");
    await rebuildPackage(numpy, rebuilt, {
      version: after,
      edits: { [`${SITE}/numpy/core/numeric.py`]: (code) => `${code}\n# built again\n` },
    });
    const system = await packFolder("system", START, (root) => installPackages([base], root));
    for (const [tag, file, day] of [
      ["1", numpy, 0],
      ["2", numpy, 7],
      ["3", rebuilt, 14],
    ] as const) {
      const time = START + day * DAY;
      const model = await packFolder(`model-${tag}`, time, (root) => {
        mkdirSync(join(root, "app"), { recursive: true });
        writeFileSync(join(root, "app/model.pkl"), seededBytes(`model ${tag}`, 6_000));
      });
      const dependencies = await packFolder(`dependencies-${tag}`, time, async (root) => {
        await installPackages([base, file], root);
        for (const name of readdirSync(root))
          if (!["usr", "var"].includes(name)) rmSync(join(root, name), { recursive: true });
        touchAll(root, time);
        const compile = ["-m", "compileall", "-q", "-x", "tests|distutils|f2py", "-s", root, "-p", "/"];
        await run("python3", [...compile, join(root, SITE, "numpy")], { env: { PYTHONHASHSEED: "0" } });
      });
      await push(tag, [system, model, dependencies], time);
    }
  }, 120_000);
  afterAll(async () => {
    await registries?.close();
    await registry?.close();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  /** Fills a folder and packs it with GNU tar, whose own times are those of the build. */
  async function packFolder(name: string, time: number, fill: (root: string) => void | Promise<void>): Promise<Buffer> {
    const root = join(folder, name);
    mkdirSync(root);
    chmodSync(root, 0o755);
    await fill(root);
    touchAll(root, time);
    const archive = `${root}.tar`;
    await run("tar", [
      "--create",
      `--file=${archive}`,
      "--format=gnu",
      "--numeric-owner",
      "--sort=name",
      "-C",
      root,
      ".",
    ]);
    rmSync(root, { recursive: true });
    return readFileSync(archive);
  }

  async function push(tag: string, layers: readonly Buffer[], time: number): Promise<void> {
    const repository = registries.open(registry.host, "team/numpy");
    const put = async (mediaType: string, bytes: Buffer): Promise<Descriptor> => {
      const descriptor = { mediaType, digest: sha256(bytes), size: bytes.length };
      await repository.writeBlob(descriptor, bytes);
      return descriptor;
    };
    const blobs: Descriptor[] = [];
    for (const tar of layers)
      blobs.push(await put("application/vnd.oci.image.layer.v1.tar+gzip", gzipSync(tar, { level: 1 })));
    const config = await put(
      "application/vnd.oci.image.config.v1+json",
      Buffer.from(
        JSON.stringify({
          created: new Date(time * 1000).toISOString(),
          os: "linux",
          architecture: "amd64",
          config: { Cmd: ["python3"] },
          rootfs: { type: "layers", diff_ids: layers.map(sha256) },
          history: ["FROM debian", "COPY model", "RUN apt-get install"].map((step) => ({ created_by: step })),
        }),
      ),
    );
    const mediaType = "application/vnd.oci.image.manifest.v1+json";
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config, layers: blobs }));
    await repository.putManifest(tag, { mediaType, bytes });
  }

  async function rebase(anchor: string, candidate: string): Promise<Plan> {
    const [from, to] = [anchor, candidate].map((tag) => `${registry.host}/team/numpy:${tag}`) as [string, string];
    return JSON.parse(await run(process.execPath, [CLI, "rebase", from, to, "--json"])) as Plan;
  }

  /** Unpacks a tag with umoci; its root file system. */
  async function unpack(tag: string): Promise<string> {
    const image = `oci:${join(folder, "layout")}:${tag}`;
    const source = `docker://${registry.host}/team/numpy:${tag}`;
    await run("skopeo", ["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", source, image]);
    const bundle = join(folder, `bundle-${tag}`);
    await run("umoci", ["unpack", "--image", image.slice("oci:".length), bundle]);
    return join(bundle, "rootfs");
  }

  /** Trees but for the time that a compiled file records of its source, which has to be that of the source beside it. */
  function describeTree(root: string): Record<string, string> {
    return readTreeFacts(root, (path, content) => {
      if (!path.endsWith(".pyc")) return content;
      const source = join(root, path.replace("__pycache__/", "").replace(/\.[^/.]+\.pyc$/, ".py"));
      const recorded = content.readUInt32LE(8);
      expect([path, recorded]).toEqual([path, Math.floor(statSync(source).mtimeMs / 1000)]);
      return Buffer.concat([content.subarray(0, 8), content.subarray(12)]);
    });
  }

  test("compiled at two times ship the model and nothing of Python", async () => {
    const plan = await rebase("1", "2");
    expect(plan).toMatchObject({
      outcome: "rebase",
      verified: "exact",
      files: { added: 0, changed: 1, removed: 0 },
      drift: { class: "model", packages: [] },
    });
    expect(plan.files.ignored.pyc).toBeGreaterThan(100);
    expect(plan.bytes.full).toBeGreaterThan(5_000_000);
    expect(plan.bytes.delta).toBeLessThan(10_000);
    const [rebased, built] = [await unpack("iot-2"), await unpack("2")];
    expect(describeTree(rebased)).toEqual(describeTree(built));
    for (const root of [rebased, built]) rmSync(resolve(root, ".."), { recursive: true });
  }, 120_000);

  test("of two versions of a package name it with both, and ship what differs", async () => {
    const plan = await rebase("2", "3");
    expect(plan).toMatchObject({
      outcome: "rebase",
      verified: "exact",
      drift: {
        class: "system",
        packages: [{ ecosystem: "dpkg", name: "python3-numpy", from: before, to: after }],
      },
    });
    // The model, numeric.py with its compiled form, and dpkg's database.
    expect(plan.files).toMatchObject({ added: 0, changed: 4, removed: 0 });
    expect(plan.bytes.delta).toBeLessThan(100_000);
    const [rebased, built] = [await unpack("iot-3"), await unpack("3")];
    expect(describeTree(rebased)).toEqual(describeTree(built));
    for (const root of [rebased, built]) rmSync(resolve(root, ".."), { recursive: true });
  }, 120_000);
});

/** Gives everything beneath a folder, and itself, one modification time. */
function touchAll(root: string, time: number): void {
  for (const path of ["", ...readdirSync(root, { recursive: true }).map(String)])
    lutimesSync(join(root, path), time, time);
}
