// References: the grammar shared by Docker and OCI clients.
import { describe, expect, test } from "vitest";
import { defaultTargetTag, formatReference, parseReference, tagOrDigest } from "../../../src/core/image/reference.ts";

const DIGEST = `sha256:${"0123456789abcdef".repeat(4)}`;

describe("a reference", () => {
  test.each([
    ["ubuntu", "docker.io/library/ubuntu:latest"],
    ["ubuntu:24.04", "docker.io/library/ubuntu:24.04"],
    ["team/app", "docker.io/team/app:latest"],
    ["index.docker.io/team/app:1", "docker.io/team/app:1"],
    ["fleet.azurecr.io/team/sub/app:2", "fleet.azurecr.io/team/sub/app:2"],
    ["127.0.0.1:5000/app:1", "127.0.0.1:5000/app:1"],
    ["localhost/app", "localhost/app:latest"],
    ["localhost:5000/app", "localhost:5000/app:latest"],
    ["[::1]:5000/app:1", "[::1]:5000/app:1"],
    [`fleet.azurecr.io/app@${DIGEST}`, `fleet.azurecr.io/app@${DIGEST}`],
    [`fleet.azurecr.io/app:2@${DIGEST}`, `fleet.azurecr.io/app:2@${DIGEST}`],
    ["a.b/x__y/z--w.v:T_a.g-1", "a.b/x__y/z--w.v:T_a.g-1"],
  ])("%s means %s", (text, full) => {
    expect(formatReference(parseReference(text))).toBe(full);
  });

  test.each([
    "",
    "App",
    "a.b/App:1",
    "a.b/app:",
    "a.b/app:.x",
    `a.b/app:${"t".repeat(129)}`,
    "a.b/app@sha256:12",
    `a.b/app@${DIGEST}@${DIGEST}`,
    "a.b/",
    "a.b//app",
    "a.b/app/",
    "-a.b/app",
    "a.b:99999999/app",
    "https://a.b/app",
    "a.b/a___b",
    `a.b/${"x".repeat(256)}`,
    "a b/app",
  ])("%j is refused", (text) => {
    expect(() => parseReference(text)).toThrow(
      expect.objectContaining({ name: "ImageError", code: "REFERENCE_INVALID" }),
    );
  });

  test("is asked for by its digest if it has one", () => {
    expect(tagOrDigest(parseReference(`a.b/app:2@${DIGEST}`))).toBe(DIGEST);
    expect(tagOrDigest(parseReference("a.b/app"))).toBe("latest");
  });

  test("gives its rebased image a tag", () => {
    expect(defaultTargetTag(parseReference("a.b/app:2"))).toBe("iot-2");
    expect(defaultTargetTag(parseReference(`a.b/app@${DIGEST}`))).toBe("iot-0123456789ab");
    expect(defaultTargetTag(parseReference(`a.b/app:${"t".repeat(128)}`))).toHaveLength(128);
  });
});
