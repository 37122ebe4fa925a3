// Numbers, identifiers and packages as people read them.
import type { Drift } from "../core/image/drift.ts";

/** Bytes in decimal units: `999 B`, `7.6 kB`, `60.0 MB`. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const units = ["kB", "MB", "GB", "TB"];
  const step = Math.min(units.length, Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 1000 ** step).toFixed(1)} ${units[step - 1]}`;
}

/** The start of a digest, enough to tell it from others. */
export function shortenDigest(digest: string): string {
  return digest.slice(0, "sha256:".length + 12);
}

/** The first packages of a drift, e.g. `numpy 1.26.4 → 2.0.1`, and how many more there are. */
export function describePackages({ packages, morePackages = 0 }: Drift, limit: number, separator: string): string {
  const named = packages
    .slice(0, limit)
    .map(({ name, from, to }) => (from === to ? `${name} ${to} rebuilt` : `${name} ${from ?? "–"} → ${to ?? "–"}`));
  const more = packages.length - named.length + morePackages;
  return `${named.join(separator)}${more > 0 ? ` and ${more} more` : ""}`;
}
