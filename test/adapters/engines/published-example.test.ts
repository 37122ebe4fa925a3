// The published example, 60 MB for a changed model: what each engine makes of it, and that umoci sees the same tree.
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LocalAcrTasks } from "../../../local/acr-tasks/acr-tasks.ts";
import type { RebaseSummary } from "../../../src/ports/rebase-engine.ts";
import { soak } from "../../counts.ts";
import type { LayerFacts } from "../../support/layers.ts";
import { run } from "../../support/run.ts";
import { seededBytes } from "../../support/seeded-bytes.ts";
import { pushTestImage } from "../../support/test-image.ts";
import { missingTools } from "../../support/tools.ts";
import { readTreeFacts } from "../../support/tree-facts.ts";
import { createTaskWorld, runRebase, type TaskWorld } from "./task-world.ts";

const SCALE = soak ? 1 : 0.1;
const FILES = 12_500 * SCALE;
const DEPENDENCY_BYTES = 60_000_000 * SCALE;
const MAX_DELTA_BYTES = 3_000;
const skip = missingTools("skopeo", "umoci");

/** A model of 6 KB, a quarter of it noise, as in the mantissas of a trained one. */
function modelOf(version: string): Buffer {
  const model = Buffer.alloc(6_000, "G@\0\0");
  for (const [index, byte] of seededBytes(`model ${version}`, model.length / 4).entries()) model[index * 4 + 2] = byte;
  return model;
}

/** What is installed anew on every build: other times, same content. */
function dependencies(mtime: number): LayerFacts {
  const noise = Buffer.from(seededBytes("dependencies", DEPENDENCY_BYTES));
  const size = Math.floor(DEPENDENCY_BYTES / FILES);
  const files = Array.from({ length: FILES }, (_, index) => [
    `opt/conda/lib/m${index % 100}/f${index}.so`,
    { content: noise.subarray(index * size, (index + 1) * size), mtime },
  ]);
  const folders = Array.from({ length: 100 }, (_, index) => [`opt/conda/lib/m${index}/`, { mtime }]);
  return Object.fromEntries([["opt/conda/", { mtime }], ["opt/conda/lib/", { mtime }], ...folders, ...files]);
}

describe("the published example", () => {
  let world: TaskWorld;
  let tasks: LocalAcrTasks;
  const ref = (tag: string): string => `${world.registry.host}/team/model:${tag}`;

  beforeAll(async () => {
    world = await createTaskWorld();
    tasks = await world.startTasks();
    const repository = world.registries.open(world.registry.host, "team/model");
    for (const [tag, mtime] of [
      ["1", 1_767_600_000],
      ["2", 1_773_000_000],
    ] as const)
      await pushTestImage(repository, tag, {
        layers: [
          { "usr/": {}, "usr/lib": Buffer.from(seededBytes("base", 200_000)), "var/": {}, "opt/": {} },
          {
            "var/azureml-app/": { mtime },
            "var/azureml-app/model.pkl": { content: modelOf(tag), mtime },
            "var/azureml-app/score.py": { content: `VERSION = ${tag}\n`, mtime },
          },
          dependencies(mtime),
        ],
        config: { Env: [`AZUREML_MODEL_VERSION=${tag}`] },
        created: new Date(mtime * 1_000).toISOString(),
      });
  });
  afterAll(async () => world?.close());

  /** The tree by an independent tool's reading. */
  const unpack = async (tag: string): Promise<Record<string, string>> => {
    const folder = mkdtempSync(join(world.folder, "unpacked-"));
    const copy = ["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"];
    await run("skopeo", [...copy, `docker://${ref(tag)}`, `oci:${folder}/image:x`]);
    await run("umoci", ["unpack", "--image", `${folder}/image:x`, join(folder, "bundle")]);
    const tree = readTreeFacts(join(folder, "bundle", "rootfs"));
    rmSync(folder, { recursive: true, force: true });
    return tree;
  };

  test.skipIf(skip !== undefined)("is a layer of at most 3 KB by every engine, and the same image", async () => {
    const images = { anchor: ref("1"), candidate: ref("2") };
    const summaries: RebaseSummary[] = [
      await world.engine.rebase({ ...images, target: ref("direct") }),
      await runRebase(world.createRuns(tasks, { runner: "cmd" }), { ...images, target: ref("cmd") }),
      await runRebase(world.createRuns(tasks, { runner: "build" }), { ...images, target: ref("build") }),
    ];
    for (const { verified, layers, bytes, files } of summaries) {
      expect(files).toMatchObject({ added: 0, changed: 2, removed: 0, ignored: { mtimeOnly: FILES } });
      expect(verified).toBe("exact");
      expect(layers).toHaveLength(1);
      expect(layers[0]?.size).toBeLessThanOrEqual(MAX_DELTA_BYTES);
      expect(bytes.full).toBeGreaterThan(DEPENDENCY_BYTES * 0.95);
    }
    expect(new Set(summaries.map(({ result }) => result.digest)).size).toBe(1);
    const wanted = await unpack("2");
    expect(Object.keys(wanted).length).toBeGreaterThan(FILES);
    expect(await unpack("build")).toEqual(wanted);
  });
});
