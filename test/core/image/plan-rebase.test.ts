// Plans: what is shipped, what is ignored, and when shared layers have to be read.
import { describe, expect, test } from "vitest";
import { displayPath } from "../../../src/core/image/entry-path.ts";
import { planRebase, type FilePlan, type RebasePlan, type ReadBase } from "../../../src/core/image/plan-rebase.ts";
import { indexLayer, writePyc, type LayerFacts } from "../../support/layers.ts";

interface Images {
  readonly base?: readonly LayerFacts[];
  readonly anchor: readonly LayerFacts[];
  readonly candidate: readonly LayerFacts[];
  /** How many shared layers there are beneath those of `base`. */
  readonly unread?: number;
  readonly readBase?: ReadBase;
  readonly volatile?: readonly string[];
}

const indexAll = (layers: readonly LayerFacts[]) => Promise.all(layers.map(indexLayer));

async function plan({
  base = [],
  anchor,
  candidate,
  unread = 0,
  readBase = "needed",
  volatile,
}: Images): Promise<RebasePlan> {
  return planRebase({
    shared: base.length + unread,
    base: await indexAll(base),
    anchor: await indexAll(anchor),
    candidate: await indexAll(candidate),
    readBase,
    rules: volatile === undefined ? {} : { volatile },
  });
}

async function planned(images: Images): Promise<FilePlan> {
  const outcome = await plan(images);
  if (outcome.needs !== undefined) throw new Error(`asks for layer ${outcome.needs} because of ${outcome.path}`);
  return outcome.plan;
}

/** The delta in short: directories, files, markers, links. */
function listDelta({ delta }: FilePlan): string[] {
  return [
    ...delta.directories.map(({ path }) => `${displayPath(path)}/`),
    ...delta.whiteouts.map((path) => `-${displayPath(path)}`),
    ...delta.files.map(({ path, layer, ordinal }) => `${displayPath(path)} #${layer}.${ordinal}`),
    ...delta.specials.map(({ path }) => `*${displayPath(path)}`),
    ...delta.links.map(({ path, target }) => `${displayPath(path)} = ${displayPath(target)}`),
  ];
}

describe("a plan", () => {
  test("ships what changed, with the directories above it as the candidate has them", async () => {
    const plan = await planned({
      unread: 3,
      anchor: [{ "opt/": { mtime: 1 }, "opt/app/": { mtime: 1 }, "opt/app/a": "1", "opt/app/b": "same", "opt/l": "x" }],
      candidate: [
        {
          "opt/": { mtime: 2 },
          "opt/app/": { mtime: 2 },
          "opt/app/a": "2",
          "opt/app/b": { content: "same", mtime: 9 },
        },
        { "opt/l": { symlink: "app" }, "opt/new": "new" },
      ],
    });
    expect(listDelta(plan)).toEqual(["opt/", "opt/app/", "opt/app/a #3.2", "opt/new #4.1", "*opt/l"]);
    expect(plan.files).toEqual({
      added: 1,
      changed: 2,
      removed: 0,
      ignored: { mtimeOnly: 1, pyc: 0, volatile: 0 },
    });
    expect(plan.delta.directories[0]?.entry.mtime).toBe(2);
    expect(plan.contentBytes).toBe(4);
  });

  test("ships changes of mode, owner and xattrs, and none of times and symlinks' modes", async () => {
    const anchor = { m: "1", u: "1", g: "1", x: "1", t: "1", "d/": {}, "e/": {}, s: { symlink: "t", mode: 0o777 } };
    const candidate = {
      m: { content: "1", mode: 0o600 },
      u: { content: "1", uid: 1 },
      g: { content: "1", gid: 1 },
      x: { content: "1", xattrs: { "user.a": "b" } },
      t: { content: "1", mtime: 5, mtimeNanos: 7 },
      "d/": { mode: 0o1777 },
      "e/": { mtime: 5 },
      s: { symlink: "t", mode: 0o755 },
    };
    const plan = await planned({ anchor: [anchor], candidate: [candidate] });
    expect(listDelta(plan)).toEqual(["d/", "m #0.0", "u #0.1", "g #0.2", "x #0.3"]);
  });

  test("removes with one marker what is gone with all beneath it", async () => {
    const plan = await planned({
      base: [{ "a/x": "1", "b/y": "1", c: "1" }],
      anchor: [{ "a/z/1": "1", "a/z/2": "1" }],
      candidate: [{ ".wh.a": "", "b/.wh.y": "" }],
    });
    expect(listDelta(plan)).toEqual(["-a", "-b/y"]);
    expect(plan.files.removed).toBe(4);
  });

  test("needs no marker where a file takes a directory's place, or the other way round", async () => {
    const plan = await planned({
      anchor: [{ "a/x": "1", b: "1" }],
      candidate: [{ a: "now a file", "b/y": "1" }],
    });
    expect(listDelta(plan)).toEqual(["a #0.0", "b/y #0.1"]);
    expect(plan.files).toMatchObject({ added: 1, changed: 1, removed: 1 });
  });
});

describe("shared layers", () => {
  test("are left alone while both images mention the same paths", async () => {
    await expect(planned({ unread: 2, anchor: [{ a: "1" }], candidate: [{ a: "2", n: "3" }] })).resolves.toBeDefined();
  });

  test.each<[string, LayerFacts, LayerFacts]>([
    ["a path that the anchor alone writes", { a: "1", "d/b": "1" }, { a: "1" }],
    ["a path that the anchor alone removes", { ".wh.a": "" }, {}],
    ["a directory that the candidate alone empties", { "d/x": "1" }, { "d/": {}, "d/.wh..wh..opq": "", "d/x": "1" }],
    ["a directory that the anchor alone empties", { "d/": {}, "d/.wh..wh..opq": "" }, { "d/": {} }],
    ["a file of the anchor that the candidate writes into", { d: "1" }, { "d/x": "1" }],
    ["a directory that the anchor alone describes", { "d/": {}, "d/x": "1" }, { "d/x": "1" }],
    ["a hard link to what lies below", { a: "1" }, { a: { link: "below" } }],
  ])("are asked for from the top because of %s", async (_, anchor, candidate) => {
    expect(await plan({ unread: 3, anchor: [anchor], candidate: [candidate] })).toMatchObject({ needs: 2 });
  });

  test("are asked for no deeper than the answer lies", async () => {
    const images = { anchor: [{ a: "2" }], candidate: [{ n: "1" }] };
    expect(await plan({ ...images, unread: 1, base: [{ other: "1" }] })).toEqual({ needs: 0, path: "a" });
    const plan1 = await planned({ ...images, unread: 1, base: [{ a: "1" }] });
    expect(listDelta(plan1)).toEqual(["a #1.0", "n #2.0"]);
  });

  test("have their files restored where the anchor hides them", async () => {
    const plan = await planned({
      base: [{ "etc/passwd": "root", "etc/group": "g" }],
      anchor: [{ "etc/passwd": "root app", "etc/app": "1", "etc/.wh.group": "" }],
      candidate: [{ n: "1" }],
    });
    expect(listDelta(plan)).toEqual(["-etc/app", "etc/passwd #0.0", "etc/group #0.1", "n #1.0"]);
  });

  test("spare the delta what they hold already when they are read in any case", async () => {
    const images = { anchor: [{ x: "1" }], candidate: [{ x: "1", a: "1", "d/": {} }] };
    const base = [{ a: "1", "d/": { mtime: 4 } }];
    expect(listDelta(await planned({ ...images, unread: 1 }))).toEqual(["d/", "a #1.1"]);
    expect(listDelta(await planned({ ...images, base, readBase: "always" }))).toEqual([]);
  });
});

describe("a folder that only the anchor's layers describe", () => {
  test("is looked for in the shared layers, however its name and its successor's are built", async () => {
    const app = (version: number): LayerFacts => ({ "m/": {}, [`m/${version}/`]: {}, [`m/${version}/a.pkl`]: "model" });
    expect(await plan({ unread: 2, anchor: [app(1)], candidate: [app(2)] })).toMatchObject({ needs: 1, path: "m/1" });
  });
});

describe("python's compiled files", () => {
  const library = (mtime: number, source: string, code: string, flags = 0): LayerFacts => ({
    "s/a.py": { content: source, mtime },
    "s/__pycache__/a.cpython-312.pyc": writePyc(mtime, code, flags),
    "s/b.pyc": writePyc(mtime, code, flags),
    "s/b.py": { content: source, mtime },
  });

  test("that differ only in the time of their unchanged source stay with it", async () => {
    const plan = await planned({ anchor: [library(100, "s", "c")], candidate: [library(200, "s", "c")] });
    expect(listDelta(plan)).toEqual([]);
    expect(plan.files.ignored).toEqual({ mtimeOnly: 2, pyc: 2, volatile: 0 });
  });

  test("go with their source when it changes, with its real time", async () => {
    const candidate = { ...library(200, "s", "c"), "s/a.py": { content: "t", mtime: 200 } };
    const plan = await planned({ anchor: [library(100, "s", "c")], candidate: [candidate] });
    expect(listDelta(plan)).toEqual(["s/a.py #0.0", "s/__pycache__/a.cpython-312.pyc #0.1"]);
    expect(plan.delta.files[0]?.entry.mtime).toBe(200);
  });

  test("that change take their unchanged source along, so that the pair agrees", async () => {
    const plan = await planned({ anchor: [library(100, "s", "c")], candidate: [library(200, "s", "other")] });
    expect(listDelta(plan)).toHaveLength(4);
  });

  test("that are validated by a hash are compared in full", async () => {
    const plan = await planned({ anchor: [library(100, "s", "c", 1)], candidate: [library(200, "s", "c", 1)] });
    expect(listDelta(plan)).toEqual(["s/__pycache__/a.cpython-312.pyc #0.1", "s/b.pyc #0.2"]);
  });

  test("that differ in mode are shipped", async () => {
    const pyc = (mtime: number, mode: number) => ({ "a.pyc": { content: writePyc(mtime, "c"), mode } });
    const plan = await planned({ anchor: [pyc(1, 0o644)], candidate: [pyc(2, 0o600)] });
    expect(listDelta(plan)).toEqual(["a.pyc #0.0"]);
  });
});

describe("volatile files", () => {
  const conda = (text: string): LayerFacts => ({
    "opt/conda/conda-meta/history": text,
    "opt/conda/conda-meta/x-1-0.json": text,
    "conda-meta/history": text,
    "opt/conda/conda-meta/pinned": text,
  });

  test("stay as the anchor has them", async () => {
    const plan = await planned({ anchor: [conda("1")], candidate: [conda("2")] });
    expect(listDelta(plan)).toEqual(["opt/conda/conda-meta/pinned #0.3"]);
    expect(plan.files.ignored.volatile).toBe(3);
  });

  test("are whatever the rules say", async () => {
    const images = { anchor: [conda("1")], candidate: [conda("2")] };
    expect(listDelta(await planned({ ...images, volatile: [] }))).toHaveLength(4);
    expect(listDelta(await planned({ ...images, volatile: ["**/pinned", "conda-meta/*"] }))).toHaveLength(2);
  });
});

describe("hard links", () => {
  test("are shipped with all their names, into the same layer", async () => {
    const plan = await planned({
      anchor: [{ a: "1", b: { link: "a" }, c: { link: "a" } }],
      candidate: [{ c: "2", a: { link: "c" }, b: { link: "a" } }],
    });
    expect(listDelta(plan)).toEqual(["a #0.0", "b = a", "c = a"]);
  });

  test("that are new among unchanged files ship the files", async () => {
    const plan = await planned({ anchor: [{ a: "1", b: "1" }], candidate: [{ a: "1", b: { link: "a" } }] });
    expect(listDelta(plan)).toEqual(["a #0.0", "b = a"]);
  });

  test("that are dissolved ship all but one", async () => {
    const plan = await planned({
      anchor: [{ a: "1", b: { link: "a" }, c: { link: "a" } }],
      candidate: [{ a: "1", b: "1", c: { link: "b" } }],
    });
    expect(listDelta(plan)).toEqual(["a #0.0"]);
  });

  test("to nothing are refused", async () => {
    const images = { anchor: [{ a: "1" }], candidate: [{ a: { link: "gone" } }] };
    await expect(plan(images)).rejects.toMatchObject({ name: "ImageError", code: "LINK_DANGLING" });
  });
});
