// The layers that accounted devices hold, as shared sets: fleets of any size know only a few different ones.

/** A layer by digest and compressed size in bytes. */
export interface AccountedLayer {
  readonly digest: string;
  readonly size: number;
}

/** An immutable set of layers. */
export interface LayerSet {
  readonly digests: ReadonlySet<string>;
}

/** A set with an image's layers added, and the bytes that were missing before. */
interface LayerGain {
  readonly set: LayerSet;
  readonly missingBytes: number;
}

/** Equal sets are one object. */
export interface LayerSets {
  readonly empty: LayerSet;
  add(set: LayerSet, image: string, layers: readonly AccountedLayer[]): LayerGain;
}

/** Creates the sets, of which only the empty one exists. */
export function createLayerSets(): LayerSets {
  const empty: LayerSet = { digests: new Set() };
  const byKey = new Map<string, LayerSet>([["", empty]]);
  const gains = new Map<LayerSet, Map<string, LayerGain>>();
  return {
    empty,
    add(set, image, layers) {
      const known = gains.get(set)?.get(image);
      if (known !== undefined) return known;
      const missing = new Map(
        layers.filter(({ digest }) => !set.digests.has(digest)).map((layer) => [layer.digest, layer.size]),
      );
      const digests = [...set.digests, ...missing.keys()].sort();
      const key = digests.join(" ");
      const grown = byKey.get(key) ?? { digests: new Set(digests) };
      byKey.set(key, grown);
      const gain = { set: grown, missingBytes: [...missing.values()].reduce((sum, size) => sum + size, 0) };
      gains.set(set, (gains.get(set) ?? new Map<string, LayerGain>()).set(image, gain));
      return gain;
    },
  };
}
