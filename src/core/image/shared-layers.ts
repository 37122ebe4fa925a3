// What two images have in common: the layers at their bottom, and what a device that has one lacks of the other.
import type { Descriptor } from "./descriptor.ts";

/** The number of layers, from the bottom, that both images have. */
export function countSharedLayers(left: readonly Descriptor[], right: readonly Descriptor[]): number {
  const end = left.findIndex(({ digest }, position) => digest !== right[position]?.digest);
  return end === -1 ? left.length : end;
}

/** The bytes of the layers of `wanted`, each digest once, that a holder of `held` has to download. */
export function countMissingBytes(wanted: readonly Descriptor[], held: readonly Descriptor[]): number {
  const has = new Set(held.map(({ digest }) => digest));
  let bytes = 0;
  for (const { digest, size } of wanted) {
    if (has.has(digest)) continue;
    has.add(digest);
    bytes += size;
  }
  return bytes;
}

/** Runtimes stop mounting images at about this many layers (overlayfs and Moby: 127 or 128). */
export const MAX_LAYERS = 127;
