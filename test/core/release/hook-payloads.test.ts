// The bodies that registries post, as they were recorded, and those that nobody should.
import { describe, expect, test } from "vitest";
import { parseAcrWebhook, parseDistributionNotification } from "../../../src/core/release/hook-payloads.ts";

const DIGEST = `sha256:${"ab".repeat(32)}`;
const MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";

const acrPush = {
  id: "cb8c3971-9adc-488b-xxxx-43cbb4974ff5",
  timestamp: "2023-11-17T16:52:01.343145347Z",
  action: "push",
  target: { mediaType: MANIFEST, size: 524, digest: DIGEST, length: 524, repository: "hello-world", tag: "v1" },
  request: {
    id: "3cbb6949-7549-4fa1-86cd-a6d5451dffc7",
    host: "myregistry.azurecr.io",
    method: "PUT",
    useragent: "docker/17.09.0-ce",
  },
};

describe("parseAcrWebhook", () => {
  test("reads a push as the service sends it", () => {
    expect(parseAcrWebhook(acrPush)).toEqual({
      events: [
        {
          source: "acr-webhook",
          eventId: acrPush.id,
          registry: "myregistry.azurecr.io",
          repository: "hello-world",
          tag: "v1",
          digest: DIGEST,
          pushedAt: "2023-11-17T16:52:01.343Z",
        },
      ],
      skipped: 0,
    });
  });

  test("skips pings, deletes and pushes of what is no image", () => {
    expect(parseAcrWebhook({ id: "1", action: "ping" })).toEqual({ events: [], skipped: 1 });
    expect(parseAcrWebhook({ ...acrPush, action: "delete" }).skipped).toBe(1);
    const chart = { ...acrPush, target: { ...acrPush.target, mediaType: "application/vnd.cncf.helm.config.v1+json" } };
    expect(parseAcrWebhook(chart).skipped).toBe(1);
  });

  test("does without the fields that are optional", () => {
    const { repository, digest, tag } = acrPush.target;
    const bare = { id: "1", action: "push", target: { repository, digest, tag } };
    expect(parseAcrWebhook(bare).events[0]).toEqual({
      source: "acr-webhook",
      eventId: "1",
      repository,
      digest,
      tag,
    });
  });

  test.each([
    ["null", null],
    ["a string", "push"],
    ["an array", [acrPush]],
    ["a digest that is none", { ...acrPush, target: { ...acrPush.target, digest: "sha256:xyz" } }],
    ["a timestamp that is none", { ...acrPush, timestamp: "yesterday" }],
    ["a numeric repository", { ...acrPush, target: { ...acrPush.target, repository: 7 } }],
  ])("refuses %s", (_what, body) => {
    expect(() => parseAcrWebhook(body)).toThrowError(expect.objectContaining({ code: "HOOK_MALFORMED" }));
  });
});

describe("parseDistributionNotification", () => {
  const push = (target: object, action = "push"): object => ({
    id: "e",
    timestamp: "2026-01-01T00:00:00Z",
    action,
    target,
    request: { host: "127.0.0.1:5000" },
    actor: {},
    source: {},
  });

  test("keeps pushes of manifests and indexes and skips blobs and pulls", () => {
    const blob = push({ mediaType: "application/octet-stream", digest: DIGEST, repository: "a" });
    const image = push({ mediaType: MANIFEST, digest: DIGEST, repository: "a", tag: "1" });
    const index = push({
      mediaType: "application/vnd.oci.image.index.v1+json",
      digest: DIGEST,
      repository: "a",
      tag: "2",
    });
    const pull = push({ mediaType: MANIFEST, digest: DIGEST, repository: "a", tag: "1" }, "pull");
    const parsed = parseDistributionNotification({ events: [blob, image, index, pull] });
    expect(parsed.events.map(({ tag }) => tag)).toEqual(["1", "2"]);
    expect(parsed.skipped).toBe(2);
  });

  test("refuses an envelope without events", () => {
    expect(() => parseDistributionNotification({})).toThrowError(/parse distribution notification: got events/);
  });
});
