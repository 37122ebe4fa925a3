// Puts the images of a repository into the order of their pushes: one push per digest, oldest first.
import type { Digest } from "./descriptor.ts";

/** A tag and the image behind it. */
export interface TaggedImage {
  readonly tag: string;
  readonly digest: Digest;
  /** RFC 3339, as the image states it. */
  readonly created: string | undefined;
}

/** One push with all its tags. */
export interface Push<Tagged extends TaggedImage> {
  readonly image: Tagged;
  readonly otherTags: readonly string[];
}

/** Builders that leave out the time write 1970, 1980 or the year 1 instead. */
const FIRST_CREDIBLE_YEAR = 2000;

const naturally = new Intl.Collator("en", { numeric: true });

/**
 * Orders by creation time; if any image has none that is credible, or all have the same, by tag as people count
 * (`v9` before `v10`). Of several tags of one image the longest that is not `latest` stands for it.
 */
export function orderPushes<Tagged extends TaggedImage>(
  images: readonly Tagged[],
): { readonly orderedBy: "created" | "tag"; readonly pushes: readonly Push<Tagged>[] } {
  const pushes = [...Map.groupBy(images, ({ digest }) => digest).values()].map((group): Push<Tagged> => {
    const [image, ...others] = group.toSorted(
      (left, right) =>
        Number(left.tag === "latest") - Number(right.tag === "latest") ||
        right.tag.length - left.tag.length ||
        naturally.compare(right.tag, left.tag),
    ) as [Tagged, ...Tagged[]];
    return { image, otherTags: others.map(({ tag }) => tag) };
  });
  const times = pushes.map(({ image }) => timeOf(image));
  const orderedBy = !times.includes(undefined) && new Set(times).size > 1 ? "created" : "tag";
  const compareTime = (left: Tagged, right: Tagged): number =>
    orderedBy === "tag" ? 0 : (timeOf(left) ?? 0) - (timeOf(right) ?? 0);
  return {
    orderedBy,
    pushes: pushes.sort(
      ({ image: left }, { image: right }) => compareTime(left, right) || naturally.compare(left.tag, right.tag),
    ),
  };
}

function timeOf({ created }: TaggedImage): number | undefined {
  const date = new Date(created ?? Number.NaN);
  return date.getUTCFullYear() >= FIRST_CREDIBLE_YEAR ? date.getTime() : undefined;
}

/** The start of the tags that Lighter gives to rebased images by default. */
const OWN_TAG_PREFIX = "iot-";

/** Compiles a tag pattern, in which `*` stands for any characters; tags of rebased images never match. */
export function createTagTest(pattern = "*"): (tag: string) => boolean {
  const source = pattern.replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*");
  const matcher = new RegExp(`^${source}$`);
  return (tag) => !tag.startsWith(OWN_TAG_PREFIX) && matcher.test(tag);
}
