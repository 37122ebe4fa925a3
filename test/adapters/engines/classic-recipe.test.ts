// The classic recipe, a Dockerfile with COPY --from: its four faults as builds have them, and each of them mended.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LocalAcrTasks } from "../../../local/acr-tasks/acr-tasks.ts";
import { packContext } from "../../../src/adapters/acr-tasks/context.ts";
import { planDockerfile } from "../../../src/adapters/acr-tasks/plan-dockerfile.ts";
import { loadPair, planPair } from "../../../src/adapters/direct-engine/compare-images.ts";
import { createLayerReader } from "../../../src/adapters/direct-engine/layer-reader.ts";
import { loadImage, type LoadedImage } from "../../../src/adapters/direct-engine/load-image.ts";
import { formatReference } from "../../../src/core/image/reference.ts";
import type { RunHandle } from "../../../src/ports/rebase-runs.ts";
import { seededBytes } from "../../support/seeded-bytes.ts";
import { pushTestImage } from "../../support/test-image.ts";
import { missingTools } from "../../support/tools.ts";
import { createTaskWorld, settle, startRun, type TaskWorld } from "./task-world.ts";

const BASE_BYTES = 400_000;
const DEPENDENCY_BYTES = 200_000;

describe.each(["own", "buildah"] as const)("built by %s", (executor) => {
  const skip = executor === "buildah" ? missingTools("buildah") : undefined;
  let world: TaskWorld;
  let tasks: LocalAcrTasks;
  /** A port of the registry that counts; builders and we use it in turn. */
  let host = "";
  const ref = (tag: string): string => `${host}/team/app:${tag}`;
  const pulled = (): number => world.registry.traffic("counted").responseBytes;

  beforeAll(async () => {
    if (skip !== undefined) return;
    world = await createTaskWorld();
    host = new URL(await world.registry.endpoint("counted")).host;
    tasks = await world.startTasks({ executor, registryHost: host });
    const base = { "usr/lib/base.so": Buffer.from(seededBytes("base", BASE_BYTES)) };
    const dependency = Buffer.from(seededBytes("dependency", DEPENDENCY_BYTES));
    const repository = world.registries.open(host, "team/app");
    for (const [tag, model, mtime] of [
      ["1", { "model/v1.pkl": "one", "model/model.pkl": "one" }, 1_700_000_000],
      ["2", { "model/model.pkl": "two" }, 1_710_000_000],
      // Where nothing is removed, nothing has to be known of what lies beneath.
      ["1-plain", { "model/model.pkl": "one" }, 1_700_000_000],
      ["2-plain", { "model/model.pkl": "two" }, 1_710_000_000],
    ] as const)
      await pushTestImage(repository, tag, {
        layers: [base, { "model/": {}, ...model }, { "opt/": {}, "opt/dependency.so": { content: dependency, mtime } }],
        config: { Env: [`VERSION=${tag}`], Cmd: [tag], Labels: { version: tag } },
      });
  });
  afterAll(async () => world?.close());

  /** The classic build: the whole Dockerfile, as anyone may build it. Says what its builder downloaded. */
  const buildUnsealed = async (tag: string, suffix = ""): Promise<{ image: LoadedImage; bytes: number }> => {
    const client = world.connect(tasks);
    const images = { anchor: ref(`1${suffix}`), candidate: ref(`2${suffix}`) };
    const pair = await loadPair(world.registries, images, undefined);
    const { plan } = await planPair(pair, createLayerReader({}), {});
    const pinned = ({ reference, digest }: LoadedImage): string => formatReference({ ...reference, digest });
    const dockerfile = planDockerfile({ anchor: pinned(pair.anchor), candidate: pinned(pair.candidate), plan });
    if (dockerfile.kind !== "dockerfile") throw new Error(dockerfile.reason);
    const context = packContext([{ path: "Dockerfile", content: Buffer.from(dockerfile.text) }]);
    const before = pulled();
    const { properties } = await client.scheduleRun({
      type: "DockerBuildRequest",
      isArchiveEnabled: false,
      platform: { os: "Linux", architecture: "amd64" },
      timeout: 600,
      credentials: {},
      sourceLocation: await client.uploadContext(context),
      dockerFilePath: "Dockerfile",
      imageNames: [`team/app:${tag}`],
      isPushEnabled: true,
      noCache: true,
    });
    const runs = world.createRuns(tasks, {});
    const handle = { runId: properties.runId } as RunHandle;
    expect(await settle(runs, handle)).toMatchObject({ state: "succeeded" });
    const bytes = pulled() - before;
    return { image: await loadImage(world.registries, ref(tag)), bytes };
  };
  /** The same rebase by a runner, sealed if it is a build. */
  const rebase = async (
    runner: RunHandle["runner"],
    tag: string,
    suffix = "",
  ): Promise<{ image: LoadedImage; bytes: number }> => {
    const runs = world.createRuns(tasks, { runner });
    const images = { anchor: ref(`1${suffix}`), candidate: ref(`2${suffix}`) };
    const handle = await startRun(runs, { ...images, target: ref(tag) });
    const before = pulled();
    expect(await settle(runs, handle)).toMatchObject({ state: "succeeded" });
    const bytes = pulled() - before;
    expect((await runs.collect(handle)).verified).toBe("exact");
    return { image: await loadImage(world.registries, ref(tag)), bytes };
  };
  const verify = async (tag: string): Promise<readonly string[]> => {
    const { verified } = await world.engine.verify({ result: ref(tag), candidate: ref("2"), anchor: ref("1") });
    return verified === "exact" ? [] : verified;
  };

  test.skipIf(skip !== undefined)("what the candidate lacks stays, and goes when sealed", async () => {
    const { image } = await buildUnsealed("unsealed-a");
    expect(image.manifest.layers).toHaveLength(4);
    expect(await verify("unsealed-a")).toContain("surplus /model/v1.pkl");
    await rebase("build", "sealed-a");
    expect(await verify("sealed-a")).toEqual([]);
  });

  test.skipIf(skip !== undefined)("the anchor's config stays, and is the candidate's when sealed", async () => {
    const unsealed = await buildUnsealed("unsealed-b");
    // buildah adds a PATH where there is none.
    expect(unsealed.image.config.runtime).toMatchObject({
      Env: expect.arrayContaining(["VERSION=1"]),
      Cmd: ["1"],
      Labels: { version: "1" },
    });
    const sealed = await rebase("build", "sealed-b");
    expect(sealed.image.config.runtime).toEqual({ Env: ["VERSION=2"], Cmd: ["2"], Labels: { version: "2" } });
  });

  test.skipIf(skip !== undefined)("two builds differ, and are the same when sealed", async () => {
    const first = await buildUnsealed("unsealed-c");
    // Tar keeps whole seconds.
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    const second = await buildUnsealed("unsealed-d");
    expect(second.image.manifest.layers.at(-1)?.digest).not.toBe(first.image.manifest.layers.at(-1)?.digest);
    const sealed = await rebase("build", "sealed-c");
    const again = await rebase("build", "sealed-d");
    const direct = await world.engine.rebase({ anchor: ref("1"), candidate: ref("2"), target: ref("direct") });
    expect([again.image.digest, direct.result.digest]).toEqual([sealed.image.digest, sealed.image.digest]);
  });

  test.skipIf(skip !== undefined)("both whole images are pulled; one when sealed, no shared layer by cmd", async () => {
    const unsealed = await buildUnsealed("unsealed-e", "-plain");
    expect(unsealed.bytes).toBeGreaterThan(BASE_BYTES + 2 * DEPENDENCY_BYTES);
    const sealed = await rebase("build", "sealed-e", "-plain");
    expect(sealed.bytes).toBeGreaterThan(BASE_BYTES + DEPENDENCY_BYTES);
    expect(sealed.bytes).toBeLessThan(BASE_BYTES + 1.5 * DEPENDENCY_BYTES);
    const cmd = await rebase("cmd", "cmd-e", "-plain");
    expect(cmd.bytes).toBeGreaterThan(2 * DEPENDENCY_BYTES);
    expect(cmd.bytes).toBeLessThan(2.2 * DEPENDENCY_BYTES);
    expect(cmd.image.digest).toBe(sealed.image.digest);
  });
});
