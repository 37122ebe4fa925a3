// Reads a repository's past pushes and measures each against the one before.
import pLimit from "p-limit";
import type { ContentRules } from "../../core/image/content-rules.ts";
import { isLighterError, type LighterError } from "../../core/errors.ts";
import { REBASE_STEP } from "../../core/image/image-config.ts";
import { ImageError } from "../../core/image/image-error.ts";
import { compressionOf } from "../../core/image/media-types.ts";
import { formatPlatform, isSamePlatform, parsePlatform } from "../../core/image/platform.ts";
import { createTagTest, orderPushes, type Push, type TaggedImage } from "../../core/image/push-order.ts";
import { formatReference, parseRepository } from "../../core/image/reference.ts";
import type { Platform } from "../../core/image/descriptor.ts";
import type { RegistryErrorCode } from "../../core/image/registry-error.ts";
import type { MeasuredPush, PushedImage, PushHistory, SkippedTag } from "../../ports/push-history.ts";
import type { Registries } from "../../ports/registry.ts";
import type { LayerReaderOptions } from "./layer-reader.ts";
import { loadImage, platformMismatch, type LoadedImage } from "./load-image.ts";
import { createReleaseChain, type ReleaseChain } from "./release-chain.ts";

/** Where measuring stands, e.g. `compare 3 of 9: app:7`. */
export interface HistoryStep {
  readonly step: "list" | "compare";
  readonly subject: string;
  readonly done: number;
  readonly total: number;
}

/** What histories are measured with. */
export interface PushHistoryOptions extends LayerReaderOptions {
  readonly registries: Registries;
  readonly rules?: ContentRules;
  readonly onStep?: (step: HistoryStep) => void;
}

/** Registries answer this many small requests at once without complaint. */
const CONCURRENT_READS = 8;

/** Failures that will not be better at the next tag. */
const FATAL: ReadonlySet<string> = new Set<RegistryErrorCode>([
  "NAME_UNKNOWN",
  "UNAUTHORIZED",
  "DENIED",
  "TOO_MANY_REQUESTS",
  "UNREACHABLE",
]);

interface Tagged extends TaggedImage {
  readonly loaded: LoadedImage;
}

/** Creates the history of repositories; it writes to none of them. */
export function createPushHistory(options: PushHistoryOptions): PushHistory {
  const { registries, onStep } = options;
  return {
    async measurePushes({ repository: text, last, platform, tags }) {
      const skipped: SkippedTag[] = [];
      const wanted = platform === undefined ? undefined : parsePlatform(platform);
      const all = await readTags(text, wanted, createTagTest(tags), skipped);
      const { images, common } = pickCommonPlatform(all, wanted, skipped);
      const { orderedBy, pushes } = orderPushes(images);
      const measured = await measureAll(pushes.slice(-last - 1), skipped);
      return {
        repository: text,
        platform: common === undefined ? null : formatPlatform(common),
        orderedBy,
        ...measured,
        skipped,
      };
    },
  };

  async function readTags(
    text: string,
    platform: Platform | undefined,
    isWanted: (tag: string) => boolean,
    skipped: SkippedTag[],
  ): Promise<Tagged[]> {
    const { registry, repository } = parseRepository(text);
    const limit = pLimit(CONCURRENT_READS);
    const names: string[] = [];
    for await (const tag of registries.open(registry, repository).listTags()) if (isWanted(tag)) names.push(tag);
    let done = 0;
    const read = async (tag: string): Promise<Tagged | undefined> => {
      const reference = formatReference({ registry, repository, tag });
      const found = await orSkip(tag, skipped, () => loadContainerImage(registries, reference, platform));
      onStep?.({ step: "list", subject: reference, done: ++done, total: names.length });
      if (found === undefined || isRebased(found)) return undefined;
      return { tag, digest: found.digest, created: createdOf(found), loaded: found };
    };
    const images = await Promise.all(names.map((tag) => limit(read, tag))).finally(() => limit.clearQueue());
    return images.filter((image) => image !== undefined);
  }

  async function measureAll(
    chosen: readonly Push<Tagged>[],
    skipped: SkippedTag[],
  ): Promise<{ start: PushedImage | null; pushes: readonly MeasuredPush[] }> {
    const pushes: MeasuredPush[] = [];
    let start: Push<Tagged> | undefined;
    let chain: ReleaseChain | undefined;
    const begin = (push: Push<Tagged>): void => {
      start = push;
      chain = createReleaseChain(push.image.loaded, options);
    };
    for (const [at, push] of chosen.entries()) {
      if (start === undefined || chain === undefined) {
        begin(push);
        continue;
      }
      const { tag, loaded } = push.image;
      onStep?.({ step: "compare", subject: formatReference(loaded.reference), done: at, total: chosen.length - 1 });
      try {
        pushes.push({ ...describePush(push), ...(await chain.release(loaded)) });
      } catch (error) {
        if (!isAboutImage(error)) throw error;
        // Of a pair that cannot be compared it may be the first image that cannot be read.
        const unread = pushes.length > 0 ? undefined : await failureOf(() => (chain as ReleaseChain).readHeld(loaded));
        skipped.push(unread === undefined ? toSkipped(tag, error) : toSkipped(start.image.tag, unread));
        if (unread !== undefined) begin(push);
      }
    }
    return { start: start === undefined ? null : describePush(start), pushes };
  }
}

/** Loads an image whose layers are all in the registry and of a kind that can be read. */
async function loadContainerImage(
  registries: Registries,
  reference: string,
  platform: Platform | undefined,
): Promise<LoadedImage> {
  const image = await loadImage(registries, reference, platform);
  for (const { mediaType, urls } of image.manifest.layers) {
    compressionOf(mediaType);
    if (urls !== undefined && urls.length > 0)
      throw new ImageError("MEDIA_TYPE_UNSUPPORTED", {
        operation: "load image",
        subject: reference,
        got: "a foreign layer, which its registry does not hold",
        want: "layers that can be read",
      });
  }
  return image;
}

/** Keeps the images of one platform: the one asked for, else that of the newest image. */
function pickCommonPlatform(
  all: readonly Tagged[],
  wanted: Platform | undefined,
  skipped: SkippedTag[],
): { readonly images: readonly Tagged[]; readonly common: Platform | undefined } {
  const common = wanted ?? orderPushes(all).pushes.at(-1)?.image.loaded.config.platform;
  if (common === undefined) return { images: all, common };
  const images = all.filter(({ tag, loaded }) => {
    if (isSamePlatform(loaded.config.platform, common)) return true;
    const mismatch = platformMismatch(formatReference(loaded.reference), loaded.config.platform, common);
    skipped.push(toSkipped(tag, mismatch));
    return false;
  });
  return { images, common };
}

/** Rebased images are Lighter's own, whatever their tag. */
function isRebased({ config }: LoadedImage): boolean {
  return config.history.some((step) => step["created_by"] === REBASE_STEP);
}

function createdOf({ config, manifest }: LoadedImage): string | undefined {
  return config.created ?? manifest.annotations?.["org.opencontainers.image.created"];
}

function describePush({ image, otherTags }: Push<Tagged>): PushedImage {
  const { tag, digest, created, loaded } = image;
  return { tag, otherTags, reference: formatReference(loaded.reference), digest, created: created ?? null };
}

function isAboutImage(error: unknown): error is LighterError {
  return isLighterError(error) && !FATAL.has(error.code);
}

function toSkipped(tag: string, { code, message }: LighterError): SkippedTag {
  return { tag, code, reason: message };
}

async function failureOf(work: () => Promise<unknown>): Promise<LighterError | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    if (isAboutImage(error)) return error;
    throw error;
  }
}

async function orSkip<Result>(
  tag: string,
  skipped: SkippedTag[],
  work: () => Promise<Result>,
): Promise<Result | undefined> {
  try {
    return await work();
  } catch (error) {
    if (!isAboutImage(error)) throw error;
    skipped.push(toSkipped(tag, error));
    return undefined;
  }
}
