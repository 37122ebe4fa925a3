// The promise of the image core, on random images: the anchor with the delta on top is the candidate, by another model.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { extractFiles, writeDeltaTar } from "../../../src/core/image/delta-layer.ts";
import type { LayerIndex } from "../../../src/core/image/layer-entry.ts";
import { decodeLayerIndex, encodeLayerIndex } from "../../../src/core/image/layer-index-codec.ts";
import { indexTar } from "../../../src/core/image/layer-index.ts";
import { indexDelta } from "../../../src/core/image/delta-index.ts";
import { planRebase, type FilePlan, type ReadBase } from "../../../src/core/image/plan-rebase.ts";
import { count } from "../../counts.ts";
import { packModel, unpackModel } from "./model-tar.ts";
import { applyModelLayer, describeTree, type ModelEntry, type ModelTree } from "./model-tree.ts";
import { buildLayers, recipe } from "./random-layers.ts";

const SEED = 20_261_120;
const EMPTY: ModelTree = new Map();

async function* inChunks(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** Indexes a tar, by way of the cached form. */
async function index(tar: Buffer): Promise<LayerIndex> {
  return decodeLayerIndex(encodeLayerIndex(await indexTar(inChunks(tar, 700), { subject: "a layer" })));
}

interface Images {
  readonly shared: readonly Buffer[];
  readonly anchor: readonly Buffer[];
  readonly candidate: readonly Buffer[];
}

/** Plans as the engine does, reading shared layers from the top while they are asked for. */
async function plan(images: Images, readBase: ReadBase): Promise<FilePlan> {
  const [shared, anchor, candidate] = await Promise.all(
    [images.shared, images.anchor, images.candidate].map((tars) => Promise.all(tars.map(index))),
  );
  const base: LayerIndex[] = [];
  for (;;) {
    const outcome = planRebase({
      shared: images.shared.length,
      base,
      anchor: anchor ?? [],
      candidate: candidate ?? [],
      readBase,
    });
    if (outcome.needs === undefined) return outcome.plan;
    expect(outcome.needs).toBe(images.shared.length - base.length - 1);
    base.unshift(shared?.[outcome.needs] as LayerIndex);
  }
}

async function writeDelta({ delta }: FilePlan, images: Images): Promise<Buffer> {
  const tars = [...images.shared, ...images.candidate];
  const chunks: Buffer[] = [];
  const contents = writeDeltaTar(delta, (layer, files) =>
    extractFiles(inChunks(tars[layer] as Buffer, 900), new Set(files.map(({ ordinal }) => ordinal)), "a layer"),
  );
  for await (const chunk of contents) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Builds both images of a recipe and the delta between them. */
async function rebase(steps: Parameters<Parameters<typeof recipe.map>[0]>[0], readBase: ReadBase) {
  const shared = buildLayers(EMPTY, steps.shared);
  const anchor = buildLayers(shared.tree, steps.anchor);
  const candidate = buildLayers(shared.tree, steps.candidate);
  const pack = (layers: ModelEntry[][]): Promise<Buffer[]> => Promise.all(layers.map(packModel));
  const images: Images = {
    shared: await pack(shared.layers),
    anchor: await pack(anchor.layers),
    candidate: await pack(candidate.layers),
  };
  const planned = await plan(images, readBase);
  const tar = await writeDelta(planned, images);
  return { anchor: anchor.tree, candidate: candidate.tree, planned, tar, images, delta: await unpackModel(tar) };
}

describe("a delta between random images", () => {
  test.each<ReadBase>(["needed", "always"])("makes the anchor's tree the candidate's (base: %s)", async (readBase) => {
    await fc.assert(
      fc.asyncProperty(recipe, async (steps) => {
        const { anchor, candidate, delta } = await rebase(steps, readBase);
        expect(describeTree(applyModelLayer(anchor, delta))).toEqual(describeTree(candidate));
      }),
      { numRuns: count("treePairs"), seed: SEED },
    );
  });

  test("has no entry that could be left out when all layers are known", async () => {
    await fc.assert(
      fc.asyncProperty(recipe, async (steps) => {
        const { anchor, candidate, delta } = await rebase(steps, "always");
        const wanted = describeTree(candidate);
        for (const entry of delta) {
          const isAbove = delta.some((other) => other !== entry && other.path.startsWith(`${entry.path}/`));
          const isTarget = delta.some((other) => other.kind === "link" && other.target === entry.path);
          if (isAbove || isTarget) continue;
          const without = applyModelLayer(
            anchor,
            delta.filter((other) => other !== entry),
          );
          expect(describeTree(without), `${entry.kind} ${entry.path} is superfluous`).not.toEqual(wanted);
        }
      }),
      { numRuns: count("treePairs"), seed: SEED + 1 },
    );
  });

  test("has the index that its plan foretells", async () => {
    await fc.assert(
      fc.asyncProperty(recipe, async (steps) => {
        const { planned, tar } = await rebase(steps, "needed");
        expect(indexDelta(planned.delta)).toEqual(await index(tar));
      }),
      { numRuns: count("treePairs"), seed: SEED + 3 },
    );
  });

  test("is the same bytes whenever it is made, and keeps the candidate's times", async () => {
    await fc.assert(
      fc.asyncProperty(recipe, async (steps) => {
        const { tar, planned, images, candidate, delta } = await rebase(steps, "needed");
        expect(await writeDelta(planned, images)).toEqual(tar);
        for (const entry of delta)
          if (entry.kind === "inode") expect(entry.inode.mtime).toBe(candidate.get(entry.path)?.mtime);
      }),
      { numRuns: Math.ceil(count("treePairs") / 4), seed: SEED + 2 },
    );
  });
});
