// Image configs: checked, compared, and carried over without touching a byte that need not change.
import { describe, expect, test } from "vitest";
import {
  carryOverConfig,
  listConfigChanges,
  listUnequalFields,
  parseConfig,
  type ImageConfig,
} from "../../../src/core/image/image-config.ts";
import { replaceMembers } from "../../../src/core/image/json-members.ts";

const digest = (digit: string): `sha256:${string}` => `sha256:${digit.repeat(64)}`;
const parse = (value: unknown, layers = 2): ImageConfig =>
  parseConfig(Buffer.from(typeof value === "string" ? value : JSON.stringify(value)), layers, "an image");
const base = {
  architecture: "amd64",
  os: "linux",
  created: "2026-01-01T00:00:00Z",
  config: { Env: ["A=1", "PATH=/bin"], Cmd: ["run"], Labels: { v: "1" } },
  rootfs: { type: "layers", diff_ids: [digest("1"), digest("2")] },
  history: [{ created_by: "one" }, { created_by: "env", empty_layer: true }, { created_by: "two" }],
};

describe("a config", () => {
  test.each([
    ["is not JSON", "{"],
    ["has no platform", { ...base, os: undefined }],
    ["has a wrong diff_id", { ...base, rootfs: { type: "layers", diff_ids: ["sha256:1", digest("2")] } }],
    ["has fewer diff_ids than layers", { ...base, rootfs: { type: "layers", diff_ids: [digest("1")] } }],
  ])("that %s is refused", (_, value) => {
    expect(() => parse(value)).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  });

  test("may have null where there is nothing", () => {
    expect(parse({ ...base, config: null, history: null, created: null })).toMatchObject({ runtime: {}, history: [] });
  });
});

describe("a config carried over", () => {
  const text =
    '{ "os":"linux",\n  "architecture" : "amd64","created":"2026-02-02T00:00:00Z","1":1.0,"big":12345678901234567890,\n' +
    `"rootfs":{"diff_ids":["${digest("1")}","${digest("9")}"],"type":"layers"},"config":{"Cmd":["a\\"}b"],"x":"\\u00e9"} }`;
  const carried = carryOverConfig({
    candidate: parse(text),
    anchor: parse(base),
    deltaDiffIds: [digest("3")],
    comment: "on anchor",
  });

  test("keeps every other byte of the candidate's", () => {
    const rootfs = `{"type":"layers","diff_ids":["${digest("1")}","${digest("2")}","${digest("3")}"]}`;
    expect(carried.startsWith(text.slice(0, text.indexOf('{"diff_ids')))).toBe(true);
    expect(carried).toContain(`"rootfs":${rootfs},"config":{"Cmd":["a\\"}b"],"x":"\\u00e9"},"history":[`);
    expect(listUnequalFields(parse(carried, 3), parse(text))).toEqual([]);
  });

  test("has the anchor's history with one entry for the delta", () => {
    const { history, diffIds } = parse(carried, 3);
    expect(history).toEqual([
      ...base.history,
      { created: "2026-02-02T00:00:00Z", created_by: "lighter rebase", comment: "on anchor" },
    ]);
    expect(history.filter(({ empty_layer: empty }) => empty !== true)).toHaveLength(diffIds.length);
  });

  test("makes a history that fits the layers when the anchor's does not", () => {
    const anchor = parse({ ...base, history: [{ created_by: "one" }] });
    const { history } = parse(carryOverConfig({ candidate: parse(text), anchor, deltaDiffIds: [], comment: "" }));
    expect(history).toHaveLength(2);
  });
});

test("changed settings are named one by one", () => {
  const after = {
    ...base,
    created: "2027-01-01T00:00:00Z",
    config: { Env: ["PATH=/bin", "B=2"], Cmd: ["run", "fast"], Labels: { v: "2" }, User: "", Volumes: null },
  };
  expect(listConfigChanges(parse(base), parse(after))).toEqual(["Cmd", "Env.A", "Env.B", "Labels.v"]);
  expect(listUnequalFields(parse(base), parse(after))).toEqual(["config", "created"]);
});

test.each([
  ['{"a":1}', { a: "2" }, '{"a":2}'],
  ['{"a":{"a":1},"b":[{"a":1}]}', { a: "2" }, '{"a":2,"b":[{"a":1}]}'],
  ["{}", { a: "2" }, '{"a":2}'],
  ['{"x":"a\\\\","a":"}"}', { a: "2", z: "3" }, '{"x":"a\\\\","a":2,"z":3}'],
  ['{"x":true , "\\u0061" : -1.5e3 }', { a: "null" }, '{"x":true , "\\u0061" : null }'],
])("in %s the members %j are set", (text, members, expected) => {
  expect(replaceMembers(text, members)).toBe(expected);
});
