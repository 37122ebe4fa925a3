// Platforms: how they are written, compared, and picked from an index.
import type { Descriptor, Platform } from "./descriptor.ts";
import { ImageError } from "./image-error.ts";

/** What is picked from an index when nobody says otherwise. */
const DEFAULT_PLATFORM: Platform = { os: "linux", architecture: "amd64" };

/** Index entries that describe another image rather than being one (BuildKit's attestation manifests). */
const ATTESTATION = "vnd.docker.reference.type";

/**
 * Reads `os/architecture[/variant]`, e.g. `linux/arm64/v8`.
 * @throws ImageError PLATFORM_INVALID
 */
export function parsePlatform(text: string): Platform {
  const [os, architecture, variant, ...surplus] = text.split("/");
  if (!os || !architecture || variant === "" || surplus.length > 0)
    throw new ImageError("PLATFORM_INVALID", {
      operation: "parse platform",
      subject: JSON.stringify(text),
      want: "os/architecture[/variant]",
    });
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
}

/** Writes a platform as `os/architecture[/variant]`. */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant ? [variant] : [])].join("/");
}

/** The variants that are meant when none is written (containerd's platform normalisation). */
function variantOf({ architecture, variant }: Platform): string {
  if (variant) return variant;
  return { arm64: "v8", arm: "v7", amd64: "v1" }[architecture] ?? "";
}

/** Whether two platforms are the same, an absent variant meaning the usual one. */
export function isSamePlatform(left: Platform, right: Platform): boolean {
  return left.os === right.os && left.architecture === right.architecture && variantOf(left) === variantOf(right);
}

/** The entries of an index that are images; attestations and unknown platforms are not. */
function listImages(entries: readonly Descriptor[]): Descriptor[] {
  return entries.filter(
    ({ annotations, platform }) => annotations?.[ATTESTATION] === undefined && platform?.os !== "unknown",
  );
}

/**
 * Picks the image of `wanted` from an index: without a wish linux/amd64, or the only image there is.
 *
 * @throws ImageError PLATFORM_NOT_FOUND, naming the platforms that the index has
 */
export function pickPlatform(
  entries: readonly Descriptor[],
  wanted: Platform | undefined,
  subject: string,
): Descriptor {
  const images = listImages(entries);
  const sought = wanted ?? DEFAULT_PLATFORM;
  const found = images.find(({ platform }) => platform !== undefined && isSamePlatform(platform, sought));
  const [only] = images;
  if (found !== undefined) return found;
  if (wanted === undefined && only !== undefined && images.length === 1) return only;
  const available = images.map(({ platform }) => (platform === undefined ? "unstated" : formatPlatform(platform)));
  throw new ImageError("PLATFORM_NOT_FOUND", {
    operation: "pick platform from index",
    subject,
    got: available.length === 0 ? "no image" : available.join(", "),
    want: formatPlatform(sought),
  });
}
