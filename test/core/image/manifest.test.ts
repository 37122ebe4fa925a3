// Manifests, indexes and platforms: what is accepted, what is refused and how.
import { describe, expect, test } from "vitest";
import { parseManifest, serializeManifest, type ImageManifest } from "../../../src/core/image/manifest.ts";
import {
  DOCKER_MANIFEST,
  DOCKER_MANIFEST_LIST,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_LAYER_GZIP,
  OCI_MANIFEST,
  compressionOf,
} from "../../../src/core/image/media-types.ts";
import { parsePlatform, pickPlatform } from "../../../src/core/image/platform.ts";
import type { Descriptor } from "../../../src/core/image/descriptor.ts";

const describeBlob = (mediaType: string, digit: string, extra: object = {}): Descriptor => ({
  mediaType,
  digest: `sha256:${digit.repeat(64)}`,
  size: 7,
  ...extra,
});
const CONFIG = describeBlob(OCI_CONFIG, "a");
const LAYER = describeBlob(OCI_LAYER_GZIP, "b", { annotations: { "x.y": "z" }, unknownField: 1 });
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config: CONFIG, layers: [LAYER] };
const refusal = (code: string) => expect.objectContaining({ name: "ImageError", code });

describe("a manifest", () => {
  test.each([OCI_MANIFEST, DOCKER_MANIFEST])("of type %s is read, descriptors whole", (mediaType) => {
    const read = parseManifest(json({ ...manifest, mediaType }), mediaType, "an image") as ImageManifest;
    expect(read).toEqual({ kind: "image", mediaType, config: CONFIG, layers: [LAYER] });
    expect(JSON.parse(Buffer.from(serializeManifest(read)).toString())).toEqual({ ...manifest, mediaType });
  });

  test("may come with media type parameters and without stating its own", () => {
    const { mediaType: _, ...unstated } = manifest;
    expect(parseManifest(json(unstated), `${OCI_MANIFEST}; charset=utf-8`, "an image").kind).toBe("image");
  });

  test.each([OCI_INDEX, DOCKER_MANIFEST_LIST])("list of type %s is read", (mediaType) => {
    const entry = describeBlob(OCI_MANIFEST, "c", {
      platform: { os: "linux", architecture: "arm", "os.version": "1" },
    });
    const read = parseManifest(json({ schemaVersion: 2, mediaType, manifests: [entry] }), mediaType, "an index");
    expect(read).toEqual({ kind: "index", mediaType, manifests: [entry] });
  });

  test.each([
    ["is not JSON", Buffer.from("<html>"), OCI_MANIFEST, "MANIFEST_INVALID"],
    ["is not UTF-8", Buffer.from([0x22, 0xff, 0x22]), OCI_MANIFEST, "MANIFEST_INVALID"],
    ["is an array", json([]), OCI_MANIFEST, "MANIFEST_INVALID"],
    ["is null", json(null), OCI_MANIFEST, "MANIFEST_INVALID"],
    [
      "has a wrong digest",
      json({ ...manifest, config: { ...CONFIG, digest: "sha256:1" } }),
      OCI_MANIFEST,
      "MANIFEST_INVALID",
    ],
    ["has a negative size", json({ ...manifest, layers: [{ ...LAYER, size: -1 }] }), OCI_MANIFEST, "MANIFEST_INVALID"],
    ["has no layers", json({ ...manifest, layers: undefined }), OCI_MANIFEST, "MANIFEST_INVALID"],
    ["is of version 1", json({ ...manifest, schemaVersion: 1 }), OCI_MANIFEST, "MANIFEST_INVALID"],
    ["contradicts its media type", json(manifest), DOCKER_MANIFEST, "MANIFEST_INVALID"],
    ["is beyond 4 MiB", Buffer.alloc(4 * 1024 * 1024 + 1, " "), OCI_MANIFEST, "MANIFEST_INVALID"],
    [
      "is Docker's schema 1",
      json({}),
      "application/vnd.docker.distribution.manifest.v1+prettyjws",
      "MEDIA_TYPE_UNSUPPORTED",
    ],
    ["is of an unknown type", json({}), "application/vnd.example+json", "MEDIA_TYPE_UNSUPPORTED"],
    ["is of no type", json({}), "", "MEDIA_TYPE_UNSUPPORTED"],
  ])("that %s is refused", (_, bytes, mediaType, code) => {
    expect(() => parseManifest(bytes, mediaType, "an image")).toThrow(refusal(code));
  });
});

test("layers of unknown media types are refused", () => {
  expect(compressionOf("application/vnd.oci.image.layer.v1.tar+zstd")).toBe("zstd");
  expect(() => compressionOf("application/vnd.oci.image.layer.v1.tar+lzma")).toThrow(refusal("MEDIA_TYPE_UNSUPPORTED"));
});

describe("an index", () => {
  const image = (digit: string, platform?: string, extra: object = {}): Descriptor =>
    describeBlob(OCI_MANIFEST, digit, { ...(platform ? { platform: parsePlatform(platform) } : {}), ...extra });
  const amd64 = image("1", "linux/amd64");
  const arm64 = image("2", "linux/arm64/v8");
  const attestation = image("3", "unknown/unknown", {
    annotations: { "vnd.docker.reference.type": "attestation-manifest" },
  });

  test("gives linux/amd64 unless another platform is wanted", () => {
    expect(pickPlatform([arm64, attestation, amd64], undefined, "an index")).toBe(amd64);
    expect(pickPlatform([arm64, attestation, amd64], parsePlatform("linux/arm64"), "an index")).toBe(arm64);
  });

  test("gives its only image whatever its platform, attestations aside", () => {
    expect(pickPlatform([attestation, arm64], undefined, "an index")).toBe(arm64);
  });

  test("names its platforms when the wanted one is missing", () => {
    const want = parsePlatform("windows/amd64");
    expect(() => pickPlatform([amd64, attestation, arm64], want, "an index")).toThrow(
      expect.objectContaining({ code: "PLATFORM_NOT_FOUND", got: "linux/amd64, linux/arm64/v8" }),
    );
    const arm = image("4", "linux/arm/v7");
    expect(() => pickPlatform([arm, arm64], undefined, "an index")).toThrow(refusal("PLATFORM_NOT_FOUND"));
    expect(() => pickPlatform([arm], parsePlatform("linux/arm/v6"), "an index")).toThrow(refusal("PLATFORM_NOT_FOUND"));
  });

  test.each(["linux", "", "linux/", "linux/arm/v7/x", "linux/arm/"])("platform %j is refused", (text) => {
    expect(() => parsePlatform(text)).toThrow(refusal("PLATFORM_INVALID"));
  });
});
