// Package changes as a plan finds them: records of every ecosystem on both sides, and what they come to.
import { describe, expect, test } from "vitest";
import { decodeLayerIndex, encodeLayerIndex } from "../../../../src/core/image/layer-index-codec.ts";
import type { PackageChange } from "../../../../src/core/image/packages/package-changes.ts";
import { planRebase } from "../../../../src/core/image/plan-rebase.ts";
import { indexLayer, type LayerFacts } from "../../../support/layers.ts";

/** Plans from one layer to another, through the cached form of their indexes. */
async function changes(before: LayerFacts, after: LayerFacts): Promise<readonly PackageChange[]> {
  const [anchor, candidate] = await Promise.all(
    [before, after].map(async (facts) => decodeLayerIndex(encodeLayerIndex(await indexLayer(facts)))),
  );
  if (anchor === undefined || candidate === undefined) throw new Error("two layers");
  const outcome = planRebase({ shared: 0, base: [], anchor: [anchor], candidate: [candidate] });
  if (outcome.needs !== undefined) throw new Error("nothing is shared");
  return outcome.plan.packages;
}

const listed = async (before: LayerFacts, after: LayerFacts): Promise<string[]> =>
  (await changes(before, after)).map(({ ecosystem, name, from, to }) => `${ecosystem} ${name} ${from} → ${to}`);
const dpkg = (...packages: string[]): LayerFacts => ({
  "var/lib/dpkg/status": packages
    .map((line) => line.split(" "))
    .map(([name, version, status = "install ok installed"]) =>
      [
        `Package: ${name}`,
        `Status: ${status.replaceAll("_", " ")}`,
        `Version: ${version}`,
        "Description: x",
        " Version: 9",
      ].join("\n"),
    )
    .join("\n\n"),
});
const SITE = "usr/lib/python3.12/site-packages";
const metadata = (name: string, version: string): string =>
  `Metadata-Version: 2.1\nName: ${name}\nVersion: ${version}\n\nName: not this\n`;

describe("packages", () => {
  test("of dpkg come with both versions, installed ones only", async () => {
    const before = dpkg("libc6 2.36-9", "python3-numpy 1:1.24.2-1", "gone 1", "old 1 deinstall_ok_config-files");
    const after = dpkg("libc6 2.36-9", "python3-numpy 1:1.24.2-2", "new 3", "old 2 deinstall_ok_config-files");
    expect(await listed(before, after)).toEqual([
      "dpkg gone 1 → null",
      "dpkg new null → 3",
      "dpkg python3-numpy 1:1.24.2-1 → 1:1.24.2-2",
    ]);
  });

  test("of distroless images come from a file each", async () => {
    const at = (version: string): LayerFacts => ({
      "var/lib/dpkg/status.d/libssl3": `Package: libssl3\nVersion: ${version}\n`,
      "var/lib/dpkg/status.d/libssl3.md5sums": "Package: no\nVersion: 1\n",
    });
    expect(await listed(at("3.0.9"), at("3.0.11"))).toEqual(["dpkg libssl3 3.0.9 → 3.0.11"]);
  });

  test("built anew by dpkg are told by their checksums", async () => {
    const at = (sum: string): LayerFacts => ({
      ...dpkg("libx 1.0", "liby 2.0"),
      "var/lib/dpkg/info/libx:amd64.md5sums": sum,
      "var/lib/dpkg/info/liby.md5sums": "same",
    });
    expect(await listed(at("a"), at("b"))).toEqual(["dpkg libx 1.0 → 1.0"]);
  });

  test("of apk come with both versions", async () => {
    const apk = (version: string): LayerFacts => ({
      "lib/apk/db/installed": `C:Q1x=\nP:musl\nV:${version}\np:so:x\nF:lib\n\nP:zlib\nV:1.3-r0\n`,
    });
    expect(await listed(apk("1.2.4-r1"), apk("1.2.4-r2"))).toEqual(["apk musl 1.2.4-r1 → 1.2.4-r2"]);
  });

  test("of npm are those at the top of node_modules, nested ones included", async () => {
    const npm = (version: string, nested: string): LayerFacts => ({
      "app/package.json": `{"name":"app","version":"${version}"}`,
      "app/node_modules/zod/package.json": `{"name":"zod","version":"${version}"}`,
      "app/node_modules/zod/v3/package.json": `{"name":"not-me","version":"${version}"}`,
      "app/node_modules/@azure/core/package.json": `{"name":"@azure/core","version":"1.0.0","x":"${version}"}`,
      "app/node_modules/zod/node_modules/a/package.json": `{"name":"a","version":"${nested}"}`,
      "app/node_modules/broken/package.json": `{"name":"${version}`,
    });
    expect(await listed(npm("4.0.0", "1.0.0"), npm("4.1.0", "1.0.1"))).toEqual([
      "npm @azure/core 1.0.0 → 1.0.0",
      "npm a 1.0.0 → 1.0.1",
      "npm zod 4.0.0 → 4.1.0",
    ]);
  });

  test("of conda come by what their records say, or by the names of those", async () => {
    const record = (name: string, version: string, build: string, content?: string): LayerFacts => ({
      [`opt/conda/conda-meta/${name}-${version}-${build}.json`]: content ?? JSON.stringify({ name, version, build }),
    });
    const before = {
      ...record("numpy", "1.26.4", "py312_0"),
      ...record("x", "1.0", "h1_0"),
      ...record("gone", "3", "0"),
    };
    const after = {
      ...record("numpy", "2.0.1", "py312_1", "{"),
      ...record("x", "1.0", "h1_1"),
      ...record("lib-y", "1", "0"),
    };
    expect(await listed(before, after)).toEqual([
      "conda gone 3 → null",
      "conda lib-y null → 1",
      "conda numpy 1.26.4 → 2.0.1",
      "conda x 1.0-h1_0 → 1.0-h1_1",
    ]);
  });

  test("of pip come from their metadata, each once per environment", async () => {
    const before: LayerFacts = {
      [`${SITE}/scikit_learn-1.4.0.dist-info/METADATA`]: metadata("scikit-learn", "1.4.0"),
      [`${SITE}/scikit_learn-1.4.0.dist-info/RECORD`]: "a",
      [`${SITE}/old-1.0-py3.12.egg-info/PKG-INFO`]: metadata("old", "1.0"),
      [`${SITE}/bare-1.0.egg-info`]: metadata("Bare", "1.0"),
    };
    const after: LayerFacts = {
      [`${SITE}/scikit_learn-1.5.0.dist-info/METADATA`]: metadata("scikit-learn", "1.5.0+cu118"),
      [`${SITE}/scikit_learn-1.5.0.dist-info/RECORD`]: "b",
      [`${SITE}/new_one-2.dist-info/RECORD`]: "c",
    };
    expect(await listed(before, after)).toEqual([
      "pip bare 1.0 → null",
      "pip new-one null → 2",
      "pip old 1.0 → null",
      "pip scikit-learn 1.4.0 → 1.5.0+cu118",
    ]);
  });

  test("of pip whose files differ in an equal version were built anew", async () => {
    const at = (record: string): LayerFacts => ({
      [`${SITE}/numpy-1.26.4.dist-info/METADATA`]: metadata("numpy", "1.26.4"),
      [`${SITE}/numpy-1.26.4.dist-info/RECORD`]: record,
      [`${SITE}/six-1.0.dist-info/INSTALLER`]: record,
    });
    expect(await listed(at("a"), at("b"))).toEqual(["pip numpy 1.26.4 → 1.26.4"]);
  });

  test("that conda reports are not reported as pip's or Python's too", async () => {
    const at = (version: string): LayerFacts => ({
      [`c/conda-meta/a-b-${version}-0.json`]: "{}",
      [`c/lib/python3.12/site-packages/a_b-${version}.dist-info/METADATA`]: metadata("a_b", version),
      [`c/conda-meta/python-3.${version}.0-0.json`]: "{}",
      [`c/lib/python3.${version}/os.py`]: "",
    });
    expect(await listed(at("1"), at("2"))).toEqual(["conda a-b 1 → 2", "conda python 3.1.0 → 3.2.0"]);
  });

  test("are the distribution and Python as well", async () => {
    const at = (id: string, os: string, python: string): LayerFacts => ({
      "usr/lib/os-release": `PRETTY_NAME="x"\nID=${id}\nVERSION_ID="${os}"\n`,
      "etc/os-release": { symlink: "../usr/lib/os-release" },
      [`usr/local/lib/python${python}/os.py`]: "",
    });
    expect(await listed(at("debian", "12", "3.11"), at("debian", "13", "3.12"))).toEqual([
      "os debian 12 → 13",
      "python python 3.11 → 3.12",
    ]);
    expect(await listed(at("debian", "12", "3.11"), at("alpine", "3.20", "3.11"))).toEqual([
      "os alpine null → 3.20",
      "os debian 12 → null",
    ]);
  });

  test("of records that make no sense are none", async () => {
    const long = "x".repeat(300);
    const before: LayerFacts = { "var/lib/dpkg/status": "", "lib/apk/db/installed": "x" };
    const after: LayerFacts = {
      "var/lib/dpkg/status": `Package: ${long}\nVersion: 1\n\nPackage: a\n\nVersion: 2\n\n\0\n\n: :\n\nPackage\n`,
      "lib/apk/db/installed": `P:a\n\nV:1\n\nP:b\nV:${long}\n`,
      "app/node_modules/a/package.json": "[]",
      "app/node_modules/b/package.json": '{"name":1,"version":{}}',
      "app/node_modules/c/package.json": "null",
      "etc/os-release": { content: Buffer.from([0xff, 0xfe, 0]) },
    };
    expect(await listed(before, after)).toEqual(["os linux null → rolling"]);
  });

  test("have names beyond ASCII", async () => {
    const at = (version: string): LayerFacts => ({
      "a/node_modules/ü/package.json": JSON.stringify({ name: "ü", version }),
    });
    expect(await listed(at("1"), at("2"))).toEqual(["npm ü 1 → 2"]);
  });
});

describe("records made to be slow", () => {
  const blanks = " ".repeat(4_000_000);
  test.each<[string, string]>([
    ["var/lib/dpkg/status", `Package: a${blanks}b\nVersion: 1${blanks}2\n${":".repeat(1_000_000)}`],
    ["var/lib/dpkg/status.d/x", "Package:a\nVersion:1\n\n".repeat(300_000)],
    ["lib/apk/db/installed", `P:a${blanks}b\nV:1\n${"\n".repeat(1_000_000)}P:`],
    ["etc/os-release", `ID="${'" '.repeat(1_000_000)}x\nVERSION_ID=1${blanks}2\n${"A=\n".repeat(500_000)}`],
    ["a/node_modules/b/package.json", "[".repeat(4_000_000)],
    ["s/b-1.dist-info/METADATA", `Name: a${blanks}b\n${"A: \n".repeat(500_000)}`],
    ["e/conda-meta/a-1-0.json", `{"name":"${"x".repeat(4_000_000)}"}`],
  ])("as %s are read in no time", async (path, content) => {
    const start = process.cpuUsage();
    const { entries } = await indexLayer({ [path]: content });
    const { user } = process.cpuUsage(start);
    expect(user / 1e6).toBeLessThan(4);
    expect(encodeLayerIndex({ entries }).length).toBeLessThan(4_000_000);
  });

  test("as paths are told from others in no time", async () => {
    const parts = ["-py1.", "-a", "node_modules/", "conda-meta/-", ".dist-info", "@a/", "status.d/"];
    const facts = Object.fromEntries(
      parts.flatMap((part) =>
        ["x.json", "/METADATA", "/RECORD"].map((end) => [
          part.repeat(part.includes("/") ? 250 : 400).slice(0, 4_000) + end,
          "{}",
        ]),
      ),
    );
    const start = process.cpuUsage();
    await changes(facts, { ...facts, ...Object.fromEntries(Object.keys(facts).map((path) => [path, "[]"])) });
    expect(process.cpuUsage(start).user / 1e6).toBeLessThan(4);
  });
});

describe("a database in a layer that only the candidate changes", () => {
  test("is compared with that of the shared layers, which are read for it", async () => {
    const base = await indexLayer({ ...dpkg("libc6 1", "curl 1"), other: "x" });
    const anchor = await indexLayer({ model: "one" });
    const candidate = await indexLayer({ ...dpkg("libc6 1", "curl 2"), model: "one" });
    const input = { shared: 1, anchor: [anchor], candidate: [candidate] };
    expect(planRebase({ ...input, base: [] })).toEqual({ needs: 0, path: "var/lib/dpkg/status" });
    expect(planRebase({ ...input, base: [base] })).toMatchObject({
      needs: undefined,
      plan: { packages: [{ ecosystem: "dpkg", name: "curl", from: "1", to: "2" }] },
    });
  });
});
