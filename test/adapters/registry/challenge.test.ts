// Challenges as registries really write them, and how scopes are merged.
import { expect, test } from "vitest";
import { mergeScopes, parseChallenges } from "../../../src/adapters/registry/challenge.ts";

const bearer = (parameters: Record<string, string>): { scheme: string; parameters: Record<string, string> } => ({
  scheme: "bearer",
  parameters,
});

test.each([
  [
    'Bearer realm="https://a/token",service="a",scope="repository:x:pull,push"',
    [bearer({ realm: "https://a/token", service: "a", scope: "repository:x:pull,push" })],
  ],
  ['bearer  REALM = "https://a/token" , service=a', [bearer({ realm: "https://a/token", service: "a" })]],
  [
    'Basic realm="x, y", Bearer realm="https://a/t"',
    [{ scheme: "basic", parameters: { realm: "x, y" } }, bearer({ realm: "https://a/t" })],
  ],
  [
    'Negotiate, Basic realm="r"',
    [
      { scheme: "negotiate", parameters: {} },
      { scheme: "basic", parameters: { realm: "r" } },
    ],
  ],
  ['Bearer realm="a\\"b"', [bearer({ realm: 'a"b' })]],
  ["Basic", [{ scheme: "basic", parameters: {} }]],
  ["", []],
  ['"', []],
  [",, ,", []],
])("reads %j", (header, expected) => {
  expect(parseChallenges(header)).toEqual(expected);
});

test("scopes of one resource become one, in a stable order", () => {
  expect(mergeScopes(["repository:b:push", "repository:a:pull", "repository:b:pull repository:a:pull"])).toEqual([
    "repository:a:pull",
    "repository:b:pull,push",
  ]);
  expect(mergeScopes(["registry:catalog:*"])).toEqual(["registry:catalog:*"]);
  expect(mergeScopes(["repository:host:5000/a:pull"])).toEqual(["repository:host:5000/a:pull"]);
});
