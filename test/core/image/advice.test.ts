// Advice on small images: matched instructions, churn, hidden files, order and splits, with their numbers.
import { describe, expect, test } from "vitest";
import { adviseImage } from "../../../src/core/image/advice/advise.ts";
import type { IndexedImage } from "../../../src/core/image/advice/instructions.ts";
import type { Digest } from "../../../src/core/image/descriptor.ts";
import { indexLayer, type LayerFacts } from "../../support/layers.ts";

/** A step of a build: its words and its layer, `size` bytes large; without a layer it is an empty one. */
interface Step {
  readonly by: string;
  readonly layer?: LayerFacts;
  readonly size?: number;
}

async function build(...steps: Step[]): Promise<IndexedImage> {
  const made = steps.filter(({ layer }) => layer !== undefined);
  return {
    layers: await Promise.all(
      made.map(async ({ layer = {}, size = 100 }) => ({
        index: await indexLayer(layer),
        descriptor: { mediaType: "x", size, digest: `sha256:${JSON.stringify(layer)}` as Digest },
      })),
    ),
    history: steps.map(({ by, layer }) => ({ created_by: by, ...(layer === undefined ? { empty_layer: true } : {}) })),
  };
}

const BASE: Step = { by: "/bin/sh -c #(nop) ADD rootfs / ", layer: { "usr/bin/sh": "x".repeat(90) }, size: 5_000 };
const ENV: Step = { by: "ENV A=1" };
const model = (version: number, extra: LayerFacts = {}): Step => ({
  by: "COPY azureml-app /var/azureml-app # buildkit",
  layer: { [`var/azureml-app/azureml-models/m/${version}/model.pkl`]: `model ${version}`, ...extra },
  size: 2_800 + version,
});
const conda = (mtime: number, size = 60_000_000 + mtime, numpy = "1"): Step => ({
  by: "/bin/sh -c conda env create -p /opt/conda",
  layer: {
    "opt/conda/lib/a.so": { content: "a".repeat(1000), mtime },
    "opt/conda/conda-meta/history": { content: `${mtime}`, mtime },
    "opt/conda/lib/python3.12/site-packages/numpy/v.py": { content: numpy, mtime: 1 },
  },
  size,
});
const azure = (at: number): Promise<IndexedImage> => build(BASE, ENV, model(at), conda(at));

describe("advice on an image with its model below dependencies that are created anew", () => {
  test("names the instruction that churns, its bytes, and the order that helps", async () => {
    const { pushes, instructions, advice, hidden } = adviseImage(await azure(3), [await azure(2), await azure(1)]);
    expect(pushes).toBe(2);
    expect(instructions).toMatchObject([
      { layer: 1, createdBy: "ADD rootfs /", class: "system", pushes: { same: 2 }, churnBytes: 0 },
      {
        layer: 2,
        createdBy: "COPY azureml-app /var/azureml-app",
        class: "model",
        pushes: { changed: 2 },
        churnBytes: 0,
      },
      {
        layer: 3,
        createdBy: "RUN conda env create -p /opt/conda",
        class: "dependencies",
        size: 60_000_003,
        pushes: { same: 0, rebuilt: 2, changed: 0, new: 0 },
        churnBytes: Math.round((60_000_003 + 60_000_002) / 2),
      },
    ]);
    expect(advice).toEqual([
      {
        kind: "reorder",
        layers: [3, 2],
        text:
          "put “RUN conda env create -p /opt/conda” (layer 3) before “COPY azureml-app /var/azureml-app” (layer 2): " +
          "it does not depend on what changes there",
        bytes: 60_000_003,
        estimated: false,
      },
    ]);
    expect(hidden).toEqual([]);
  });

  test("says so from one image alone, and which list of packages to copy before", async () => {
    const image = await build(BASE, model(1, { "var/azureml-app/conda.yaml": "a" }), conda(1));
    const { advice, instructions } = adviseImage(image, []);
    expect(advice).toMatchObject([{ kind: "reorder", layers: [3, 2], bytes: 60_000_001 }]);
    expect(advice[0]?.text).toContain("copy var/azureml-app/conda.yaml in an instruction of its own before that");
    expect(instructions[2]?.churnBytes).toBe(0);
  });

  test("counts only the pushes in which dependencies were not changed", async () => {
    const newest = await build(BASE, model(3), conda(3, 500, "2"));
    const { instructions, advice } = adviseImage(newest, [await azure(2), await azure(1)]);
    expect(instructions[2]).toMatchObject({
      pushes: { rebuilt: 1, changed: 1 },
      churnBytes: Math.round(60_000_002 / 2),
    });
    expect(advice).toMatchObject([{ kind: "reorder", bytes: Math.round(60_000_002 / 2) }]);
  });
});

describe("advice", () => {
  test("is none where the order is right", async () => {
    const right = (at: number) => build(BASE, conda(1), ENV, model(at));
    expect(adviseImage(await right(2), [await right(1)])).toMatchObject({
      advice: [],
      instructions: [{ churnBytes: 0 }, { churnBytes: 0, pushes: { same: 1 } }, { pushes: { changed: 1 } }],
    });
    expect(adviseImage(await right(2), []).advice).toEqual([]);
  });

  test("is to use the cache where nothing below a churning layer changes", async () => {
    const { advice } = adviseImage(await build(BASE, conda(2), model(2)), [await build(BASE, conda(1), model(1))]);
    expect(advice).toMatchObject([{ kind: "cache", layers: [2], bytes: 60_000_002, estimated: false }]);
  });

  test("is to split a copy of much of which little changes", async () => {
    const weights = { "app/data.bin": { content: Buffer.alloc(300_000, 1) } };
    const all = (at: number): Step => ({
      by: "COPY . /app",
      layer: { ...weights, "app/main.py": `${at}` },
      size: 250_000,
    });
    const { advice } = adviseImage(await build(BASE, all(2)), [await build(BASE, all(1))]);
    expect(advice).toMatchObject([{ kind: "split", layers: [2], bytes: 250_000, estimated: true }]);
    expect(advice[0]?.text).toContain("at most 1 of its files change per push");
  });

  test("is to keep from shipping what a later layer overwrites, repeats or deletes", async () => {
    const big = (seed: string) => ({ content: Buffer.alloc(10_000, seed) });
    const image = await build(
      BASE,
      {
        by: "COPY . /app",
        layer: {
          "app/kept": big("k"),
          "app/repeated": big("r"),
          "app/replaced": big("a"),
          "app/gone/x": big("g"),
          tiny: "t",
        },
      },
      { by: "RUN chmod 755 /app/repeated", layer: { "app/repeated": { ...big("r"), mode: 0o755 }, tiny: "u" } },
      { by: "RUN ./build", layer: { "app/replaced": big("b"), "app/.wh.gone": "" } },
    );
    const { hidden, advice } = adviseImage(image, []);
    expect(hidden).toEqual([
      { layer: 2, byLayer: 3, kind: "repeated", files: 1, bytes: 10_000, example: "app/repeated" },
      { layer: 2, byLayer: 4, kind: "overwritten", files: 1, bytes: 10_000, example: "app/replaced" },
      { layer: 2, byLayer: 4, kind: "deleted", files: 1, bytes: 10_000, example: "app/gone/x" },
      { layer: 2, byLayer: 3, kind: "overwritten", files: 1, bytes: 1, example: "tiny" },
    ]);
    expect(advice.filter(({ kind }) => kind === "hidden").map(({ layers, bytes }) => [layers, bytes])).toEqual([
      [[2, 3], 10_000],
      [[2, 4], 10_000],
      [[2, 4], 10_000],
    ]);
    expect(advice.find(({ kind }) => kind === "hidden")?.text).toContain("COPY --chmod");
  });

  test("sees folders that are emptied or replaced by a file", async () => {
    const content = { content: Buffer.alloc(5_000, 1) };
    const image = await build(
      { by: "a", layer: { "x/y/z": content, "d/e": content } },
      { by: "b", layer: { "x/y/.wh..wh..opq": "", d: "now a file" } },
    );
    expect(adviseImage(image, []).hidden).toEqual([
      { layer: 1, byLayer: 2, kind: "deleted", files: 2, bytes: 10_000, example: "x/y/z" },
    ]);
  });

  test("does not blame an instruction where history and layers do not match", async () => {
    const { layers } = await azure(2);
    const { instructions, advice } = adviseImage({ layers, history: [{ created_by: "all" }] }, [
      { layers: (await azure(1)).layers, history: [] },
    ]);
    expect(instructions.map(({ createdBy }) => createdBy)).toEqual(["unknown", "unknown", "unknown"]);
    expect(advice).toMatchObject([{ kind: "reorder", bytes: 60_000_002 }]);
  });

  test("follows an instruction to another height, and takes an unheard-of one for new", async () => {
    const { instructions } = adviseImage(
      await build(BASE, { by: "RUN apt-get install curl", layer: { "usr/bin/curl": "x" } }, model(2), conda(2)),
      [await azure(1)],
    );
    expect(instructions.map(({ pushes }) => pushes)).toMatchObject([
      { same: 1 },
      { new: 1 },
      { changed: 1 },
      { rebuilt: 1 },
    ]);
  });

  test("takes a layer with hard links into lower layers for changed", async () => {
    const link = (mtime: number): Step => ({ by: "RUN ln", layer: { "usr/bin/dash": { link: "usr/bin/sh", mtime } } });
    const { instructions } = adviseImage(await build(BASE, link(2)), [await build(BASE, link(1))]);
    expect(instructions[1]?.pushes).toMatchObject({ changed: 1, rebuilt: 0 });
  });
});
