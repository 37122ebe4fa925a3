// One suite over all engines on the same images: the same image comes out of each, byte for byte, and is exact.
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LocalAcrTasks } from "../../../local/acr-tasks/acr-tasks.ts";
import type { RebaseRequest, RebaseSummary } from "../../../src/ports/rebase-engine.ts";
import type { LayerFacts } from "../../support/layers.ts";
import { run } from "../../support/run.ts";
import { seededBytes } from "../../support/seeded-bytes.ts";
import { pushTestImage, type ImageFacts } from "../../support/test-image.ts";
import { missingTools } from "../../support/tools.ts";
import { readTreeFacts } from "../../support/tree-facts.ts";
import { createTaskWorld, runRebase, type TaskWorld } from "./task-world.ts";

type Rebase = (world: TaskWorld, tasks: LocalAcrTasks, request: RebaseRequest) => Promise<RebaseSummary>;

const ENGINES: readonly { name: string; executor: "own" | "buildah"; needs: readonly string[]; rebase: Rebase }[] = [
  {
    name: "direct",
    executor: "own",
    needs: [],
    rebase: ({ engine }, _tasks, request) => engine.rebase(request),
  },
  {
    name: "acr-tasks, cmd",
    executor: "own",
    needs: [],
    rebase: (world, tasks, request) => runRebase(world.createRuns(tasks, { runner: "cmd" }), request),
  },
  {
    name: "acr-tasks, build by the small executor",
    executor: "own",
    needs: [],
    rebase: (world, tasks, request) => runRebase(world.createRuns(tasks, { runner: "build" }), request),
  },
  {
    name: "acr-tasks, build by buildah",
    executor: "buildah",
    needs: ["buildah"],
    rebase: (world, tasks, request) => runRebase(world.createRuns(tasks, { runner: "build" }), request),
  },
];

const dependencies = (mtime: number): LayerFacts =>
  Object.fromEntries(
    Array.from({ length: 40 }, (_, index) => [
      `opt/lib/m${index}.so`,
      { content: Buffer.from(seededBytes(`dependency ${index}`, 4_000)), mtime },
    ]),
  );
const BASE: LayerFacts = { "etc/": {}, "etc/app.conf": "threads = 2\n", "tmp/": { mode: 0o1777 } };

/** Everything that a delta may have to do, and names that builders stumble over. */
const ANCHOR: ImageFacts = {
  layers: [
    BASE,
    {
      "model/": {},
      "model/model.pkl": Buffer.from(seededBytes("one", 2_000)),
      "model/obsolete.pkl": "gone in two",
      "app/": {},
      "app/score.py": { content: "print('one')\n", uid: 1_000, gid: 100 },
      "app/run.sh": "exec probe\n",
      "app/kind": "a file in one\n",
      "app/folder/": {},
      "app/folder/inner": "a folder in one\n",
      "app/current": { symlink: "/model/one" },
      "app/shared-a": "shared by one\n",
      "app/shared-b": { link: "app/shared-a" },
      "app/old/": {},
      "app/old/deep": "gone with its folder\n",
    },
    dependencies(1_700_000_000),
  ],
  config: {
    Env: ["V=1", "ONLY_IN_ONE=yes"],
    Cmd: ["one"],
    Labels: { version: "1", old: "yes" },
    Volumes: { "/v": {} },
  },
  created: "2026-01-05T08:00:00Z",
};
const CANDIDATE: ImageFacts = {
  layers: [
    BASE,
    {
      "model/": { mode: 0o750, uid: 33, gid: 33 },
      "model/model.pkl": Buffer.from(seededBytes("two", 2_000)),
      "app/": {},
      "app/score.py": { content: "print('two')\n", mode: 0o640, uid: 1_001, gid: 100 },
      "app/run.sh": { content: "exec probe\n", mode: 0o4755 },
      "app/kind/": {},
      "app/kind/inner": "a folder in two\n",
      "app/folder": "a file in two\n",
      "app/current": { symlink: "/model/two" },
      "app/shared-a": "shared by two\n",
      "app/shared-b": { link: "app/shared-a" },
      "app/shared-c": { link: "app/shared-a" },
      "app/empty": "",
      "app/with blank.txt": "a blank\n",
      "app/*]?{a,b}.txt": "a pattern\n",
      "app/a.txt": "a bait for patterns\n",
      "app/ünïcode-模型.bin": "beyond ASCII\n",
      "app/# no comment": "a mark\n",
      "app/far": { content: "a capability\n", uid: 123_456, gid: 234_567, xattrs: { "user.lighter": "kept" } },
    },
    dependencies(1_710_000_000),
  ],
  config: {
    Env: ["V=2"],
    Cmd: ["two"],
    Labels: { version: "2", "a\nRUN rm -rf /": '"]\nUSER root' },
    User: "1001:100",
  },
  created: "2026-03-09T17:30:00Z",
};

const results = new Map<string, RebaseSummary>();
let world: TaskWorld;
const tasks = new Map<string, LocalAcrTasks>();
const ref = (tag: string): string => `${world.registry.host}/team/app:${tag}`;

beforeAll(async () => {
  world = await createTaskWorld();
  const repository = world.registries.open(world.registry.host, "team/app");
  await pushTestImage(repository, "1", ANCHOR);
  await pushTestImage(repository, "2", CANDIDATE);
  for (const [tag, family] of [
    ["docker-1", ANCHOR],
    ["docker-2", CANDIDATE],
  ] as const)
    await pushTestImage(repository, tag, { ...family, family: "docker" });
  await pushTestImage(repository, "gone-only", {
    ...ANCHOR,
    layers: [...ANCHOR.layers, { "model/.wh.obsolete.pkl": "" }],
  });
});
afterAll(async () => world?.close());

describe.each(ENGINES)("$name", ({ name, executor, needs, rebase }) => {
  const skip = missingTools(...needs);
  const tasksOf = async (): Promise<LocalAcrTasks> => {
    const known = tasks.get(executor) ?? (await world.startTasks({ executor }));
    tasks.set(executor, known);
    return known;
  };

  test.skipIf(skip !== undefined)("makes an exact image on the anchor's layers", async () => {
    const request = {
      anchor: ref("1"),
      candidate: ref("2"),
      target: ref(`t${ENGINES.findIndex((e) => e.name === name)}`),
    };
    const summary = await rebase(world, await tasksOf(), request);
    results.set(name, summary);
    expect(summary).toMatchObject({
      outcome: "rebase",
      verified: "exact",
      anchor: { reference: ref("1") },
      candidate: { reference: ref("2") },
      result: { reference: request.target },
      sharedLayers: 1,
      files: { added: 9, removed: 3, ignored: { mtimeOnly: 40 } },
    });
    expect(summary.layers).toHaveLength(1);
    const { verified } = await world.engine.verify({ result: request.target, candidate: ref("2"), anchor: ref("1") });
    expect(verified).toBe("exact");
  });

  test.skipIf(skip !== undefined)("does so for images in Docker's format", async () => {
    const target = ref(`d${ENGINES.findIndex((engine) => engine.name === name)}`);
    const request = { anchor: ref("docker-1"), candidate: ref("docker-2"), target };
    const summary = await rebase(world, await tasksOf(), request);
    expect(summary.verified).toBe("exact");
    results.set(`${name}, docker`, summary);
  });
});

describe("all engines", () => {
  test("give the same image, byte for byte", () => {
    const oci = [...results].filter(([name]) => !name.endsWith(", docker"));
    const docker = [...results].filter(([name]) => name.endsWith(", docker"));
    expect(oci.length).toBeGreaterThanOrEqual(3);
    expect(new Set(oci.map(([, { result }]) => result.digest)).size).toBe(1);
    expect(new Set(docker.map(([, { result }]) => result.digest)).size).toBe(1);
    const [[, first] = []] = oci;
    for (const [, { result: _result, ...summary }] of oci) {
      const { result: _first, ...wanted } = first as RebaseSummary;
      expect(summary).toEqual(wanted);
    }
  });

  test.skipIf(missingTools("skopeo", "umoci") !== undefined)(
    "give the candidate's tree and config, by umoci's reading",
    async () => {
      const unpack = async (tag: string): Promise<{ tree: Record<string, string>; config: unknown }> => {
        const folder = mkdtempSync(join(world.folder, "unpacked-"));
        const source = `docker://${ref(tag)}`;
        await run("skopeo", [
          "--insecure-policy",
          "copy",
          "--quiet",
          "--src-tls-verify=false",
          source,
          `oci:${folder}/image:x`,
        ]);
        await run("umoci", ["unpack", "--image", `${folder}/image:x`, join(folder, "bundle")]);
        const inspected = await run("skopeo", ["inspect", "--config", "--raw", "--tls-verify=false", source]);
        const { rootfs: _rootfs, history: _history, ...config } = JSON.parse(inspected) as Record<string, unknown>;
        return { tree: readTreeFacts(join(folder, "bundle", "rootfs")), config };
      };
      const wanted = await unpack("2");
      expect(Object.keys(wanted.tree).length).toBeGreaterThan(55);
      for (const [index] of ENGINES.entries())
        if (index < results.size / 2) expect(await unpack(`t${index}`)).toEqual(wanted);
    },
  );
});
