// The order of pushes, and which tags count.
import { describe, expect, test } from "vitest";
import type { Digest } from "../../../src/core/image/descriptor.ts";
import { createTagTest, orderPushes } from "../../../src/core/image/push-order.ts";

const image = (tag: string, created?: string, content = tag) => ({
  tag,
  created,
  digest: `sha256:${content}` as Digest,
});
const order = (...images: ReturnType<typeof image>[]) => {
  const { orderedBy, pushes } = orderPushes(images);
  return [orderedBy, ...pushes.map(({ image: { tag }, otherTags }) => [tag, ...otherTags].join("+"))];
};

describe("pushes", () => {
  test("are in the order of their images' creation", () => {
    expect(
      order(image("b", "2026-01-02T00:00:00Z"), image("a", "2026-01-03T00:00:00+01:00"), image("c", "2025-05-05")),
    ).toEqual(["created", "c", "b", "a"]);
  });

  test.each([undefined, "1970-01-01T00:00:00Z", "1980-01-01T00:00:01Z", "0001-01-01T00:00:00Z", "some day", ""])(
    "are in the order of their tags as people count when one was created %s",
    (created) => {
      expect(order(image("v10", "2026-01-01"), image("v9", created), image("v1", "2026-01-02"))).toEqual([
        "tag",
        "v1",
        "v9",
        "v10",
      ]);
    },
  );

  test("are in the order of their tags when all were created at the same moment", () => {
    expect(order(image("2", "2026-01-01"), image("1", "2026-01-01"))).toEqual(["tag", "1", "2"]);
  });

  test("of several tags are one, named by the most telling", () => {
    const now = "2026-01-01";
    expect(
      order(image("latest", now, "x"), image("1", now, "x"), image("1.2", now, "x"), image("0", "2025-01-01")),
    ).toEqual(["created", "0", "1.2+1+latest"]);
    expect(order(image("latest", now))).toEqual(["tag", "latest"]);
    expect(order()).toEqual(["tag"]);
  });
});

describe("a tag pattern", () => {
  test("knows stars and nothing else, and never matches rebased images", () => {
    const wanted = (pattern: string | undefined, ...tags: string[]) => tags.filter(createTagTest(pattern));
    expect(wanted(undefined, "1", "iot-1", "latest")).toEqual(["1", "latest"]);
    expect(wanted("v1.*", "v1.2", "v1", "v1x2", "xv1.2")).toEqual(["v1.2"]);
    expect(wanted("*-[a]+", "1-[a]+", "1-aa")).toEqual(["1-[a]+"]);
    expect(wanted("iot-*", "iot-1")).toEqual([]);
  });
});
