// Reads the layers of an image and of earlier pushes of it, and advises on how it is built.
import { adviseImage } from "../../core/image/advice/advise.ts";
import type { IndexedImage } from "../../core/image/advice/instructions.ts";
import type { ContentRules } from "../../core/image/content-rules.ts";
import { parsePlatform } from "../../core/image/platform.ts";
import { orderPushes } from "../../core/image/push-order.ts";
import type { ImageAdvisor } from "../../ports/image-advisor.ts";
import type { Registries } from "../../ports/registry.ts";
import { pairOf } from "./compare-images.ts";
import { createLayerReader, type LayerReader, type LayerReaderOptions } from "./layer-reader.ts";
import { loadImage, type LoadedImage } from "./load-image.ts";
import { resolved } from "./summarize.ts";

/** What an advisor is made from. */
export interface AdvisorOptions extends LayerReaderOptions {
  readonly registries: Registries;
  readonly rules?: ContentRules;
}

/** Creates the advisor. */
export function createAdvisor(options: AdvisorOptions): ImageAdvisor {
  const { registries, rules = {} } = options;
  return {
    async advise({ image: text, earlier: texts, platform }) {
      const wanted = platform === undefined ? undefined : parsePlatform(platform);
      const load = (one: string): Promise<LoadedImage> => loadImage(registries, one, wanted);
      const [image, ...others] = (await Promise.all([text, ...texts].map(load))) as [LoadedImage, ...LoadedImage[]];
      for (const other of others) pairOf(other, image);
      const tagged = others
        .filter(({ digest }) => digest !== image.digest)
        .map((loaded, at) => ({
          loaded,
          digest: loaded.digest,
          created: loaded.config.created,
          tag: String(texts.length - at),
        }));
      const earlier = orderPushes(tagged)
        .pushes.map(({ image: { loaded } }) => loaded)
        .toReversed();
      const reader = createLayerReader(options);
      const indexed: IndexedImage[] = [];
      for (const one of [image, ...earlier]) indexed.push(await indexImage(one, reader));
      const [newest, ...rest] = indexed as [IndexedImage, ...IndexedImage[]];
      return { image: resolved(image), earlier: earlier.map(resolved), ...adviseImage(newest, rest, rules) };
    },
  };
}

async function indexImage({ repository, manifest, config }: LoadedImage, reader: LayerReader): Promise<IndexedImage> {
  const layers: {
    descriptor: IndexedImage["layers"][number]["descriptor"];
    index: IndexedImage["layers"][number]["index"];
  }[] = [];
  for (const descriptor of manifest.layers) {
    const { index } = await reader.readIndex(repository, descriptor);
    layers.push({ descriptor, index });
  }
  return { layers, history: config.history };
}
