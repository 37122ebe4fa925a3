// Numbers and identifiers as people read them.

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
