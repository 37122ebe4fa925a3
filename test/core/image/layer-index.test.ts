// Indexes of layers: what they hold, what they refuse, and their cached form.
import { randomBytes } from "node:crypto";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { decompress, type DecompressOptions } from "../../../src/core/image/decompress.ts";
import { decodeLayerIndex, encodeLayerIndex } from "../../../src/core/image/layer-index-codec.ts";
import type { FileEntry, LayerIndex } from "../../../src/core/image/layer-entry.ts";
import { indexTar } from "../../../src/core/image/layer-index.ts";
import { planRebase } from "../../../src/core/image/plan-rebase.ts";
import { digestOf } from "../../../src/core/image/digest.ts";
import { indexLayer, writeLayerTar, writePyc, type LayerFacts } from "../../support/layers.ts";

const refusal = (code: string) => expect.objectContaining({ name: "ImageError", code });

async function* pieces(bytes: Uint8Array, size = 10_000): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield Buffer.from(bytes.subarray(at, at + size));
}

const RICH: LayerFacts = {
  "./": { mode: 0o700 },
  "/usr/./bin//x": { content: "abc", uid: 5, gid: 6, mtime: -3, mtimeNanos: 5, mode: 0o4755 },
  "usr/lib/": { xattrs: { "security.capability": "\x01\x00\x02", "user.ü": "" } },
  "usr/ü": { symlink: "../elsewhere" },
  "usr/hard": { link: "./usr/bin/x" },
  "usr/.wh.gone": "",
  "usr/d/.wh..wh..opq": "",
  ".wh..wh.plnk": "",
  "a.pyc": { content: writePyc(77, "code") },
};

describe("an index", () => {
  test("holds clean paths, markers, hashes and what the rules need", async () => {
    const { entries } = await indexLayer(RICH);
    expect(entries.map(({ kind, path }) => [kind, Buffer.from(path, "latin1").toString()])).toEqual([
      ["entry", ""],
      ["entry", "usr/bin/x"],
      ["entry", "usr/lib"],
      ["entry", "usr/ü"],
      ["entry", "usr/hard"],
      ["whiteout", "usr/gone"],
      ["opaque", "usr/d"],
      ["bookkeeping", ".wh..wh.plnk"],
      ["entry", "a.pyc"],
    ]);
    expect(`sha256:${(entries[1] as FileEntry).sha256}`).toBe(digestOf(Buffer.from("abc")));
    expect(entries[4]).toMatchObject({ type: "link", linkname: "usr/bin/x" });
    expect((entries[8] as FileEntry).pyc?.sourceMtime).toBe(77);
  });

  test("hashes and hands over files that arrive in pieces as those that do not", async () => {
    const content = randomBytes(100_000);
    const tar = writeLayerTar({ big: { content }, small: "s" });
    for (const size of [600, 1_000_000]) {
      const offered: [string, Buffer | undefined][] = [];
      const keep = {
        maxBytes: 200_000,
        offer: (entry: FileEntry, bytes: Buffer | undefined) =>
          void offered.push([entry.path, bytes && Buffer.from(bytes)]),
      };
      const { entries } = await indexTar(pieces(tar, size), { subject: "a layer", keep });
      expect(`sha256:${(entries[0] as FileEntry).sha256}`).toBe(digestOf(content));
      expect(offered).toEqual([
        ["big", content],
        ["small", Buffer.from("s")],
      ]);
    }
  });

  test.each(["../evil", "a/../../evil", ".wh...", "x/.wh..", "a/.wh."])("of a tar with %j is refused", async (path) => {
    await expect(indexLayer({ [path]: "x" })).rejects.toEqual(refusal("TAR_PATH_ESCAPES"));
  });

  test.each<LayerFacts>([{ a: { link: "../../etc/shadow" } }, { "./": { symlink: "x" }, ".": { symlink: "/" } }])(
    "of a tar with %j is refused",
    async (facts) => {
      await expect(indexLayer(facts)).rejects.toEqual(refusal("TAR_PATH_ESCAPES"));
    },
  );

  test.each([`${"a".repeat(200)}/`.repeat(21), "a/".repeat(600)])(
    "of a tar with a path that is too long or too deep is refused",
    async (folder) => {
      await expect(indexLayer({ [`${folder}b`]: "x" })).rejects.toEqual(refusal("TAR_INVALID"));
    },
  );

  test("of a very deep tree is planned with", async () => {
    const deep = await indexLayer({ [`${"ab/".repeat(511)}c`]: "x" });
    const flat = await indexLayer({ b: "x" });
    const counts = [deep, flat].map((anchor) => {
      const outcome = planRebase({ shared: 0, base: [], anchor: [anchor], candidate: [anchor === deep ? flat : deep] });
      return outcome.needs === undefined ? outcome.plan.files : undefined;
    });
    expect(counts).toMatchObject([
      { added: 1, removed: 1 },
      { added: 1, removed: 1 },
    ]);
  });

  test("of symlinks that point anywhere is none of an index's business", async () => {
    await expect(indexLayer({ a: { symlink: "../../../etc/shadow" }, b: { symlink: "/" } })).resolves.toBeDefined();
  });
});

describe("the cached form", () => {
  test("holds all of an index", async () => {
    const index = await indexLayer(RICH);
    const devices: LayerIndex = {
      entries: [
        ...index.entries,
        { ...(index.entries[2] as FileEntry), type: "block-device", deviceMajor: 8, deviceMinor: 300 },
      ],
    };
    expect(decodeLayerIndex(encodeLayerIndex(devices))).toEqual(devices);
    expect(decodeLayerIndex(encodeLayerIndex({ entries: [] }))).toEqual({ entries: [] });
  });

  test("is refused when anything in it has changed", async () => {
    const bytes = encodeLayerIndex(await indexLayer(RICH));
    for (let at = 0; at < bytes.length; at += 7) {
      const damaged = Uint8Array.from(bytes);
      damaged[at] = (damaged[at] ?? 0) ^ 0x10;
      expect(() => decodeLayerIndex(damaged)).toThrow(refusal("INDEX_UNREADABLE"));
    }
    for (const length of [0, 3, 20, bytes.length - 1])
      expect(() => decodeLayerIndex(bytes.subarray(0, length))).toThrow(refusal("INDEX_UNREADABLE"));
  });

  test("of 50,000 files is loaded and planned with in half a second", () => {
    const make = (shift: number): LayerIndex => ({
      entries: Array.from({ length: 50_000 }, (_, at): FileEntry => {
        const sha256 = digestOf(Buffer.from(String(at))).slice(7);
        const path = `opt/conda/lib/python3.12/site-packages/package-${at % 700}/part-${at % 7}/module-${at}.py`;
        const none = { mtimeNanos: 0, linkname: "", deviceMajor: 0, deviceMinor: 0 };
        return {
          kind: "entry",
          type: "file",
          path,
          mode: 0o644,
          uid: 0,
          gid: 0,
          size: at,
          mtime: at + shift,
          sha256,
          ...none,
        };
      }),
    });
    const [one, two] = [encodeLayerIndex(make(0)), encodeLayerIndex(make(1))];
    const times = [0, 0, 0].map(() => {
      const start = process.cpuUsage();
      const outcome = planRebase({
        shared: 1,
        base: [],
        anchor: [decodeLayerIndex(one)],
        candidate: [decodeLayerIndex(two)],
      });
      expect(outcome).toMatchObject({ plan: { files: { changed: 0, ignored: { mtimeOnly: 50_000 } } } });
      const { user, system } = process.cpuUsage(start);
      return (user + system) / 1000;
    });
    expect(Math.min(...times)).toBeLessThan(500);
  });
});

describe("a packed layer", () => {
  const content = Buffer.concat([randomBytes(700_000), Buffer.alloc(1_500_000, "text ")]);
  const unpack = async (blob: AsyncIterable<Uint8Array>, options: Partial<DecompressOptions>): Promise<Buffer> => {
    const parts: Buffer[] = [];
    for await (const part of decompress(blob, { compression: "gzip", subject: "a layer", ...options }))
      parts.push(Buffer.from(part));
    return Buffer.concat(parts);
  };

  test.each<[string, DecompressOptions["compression"], Buffer]>([
    ["plain", "none", content],
    ["gzip", "gzip", gzipSync(content)],
    ["gzip of two members", "gzip", Buffer.concat([gzipSync(content.subarray(0, 9)), gzipSync(content.subarray(9))])],
    ["zstd", "zstd", zstdCompressSync(content)],
    [
      "zstd of two frames",
      "zstd",
      Buffer.concat([zstdCompressSync(content.subarray(0, 9)), zstdCompressSync(content.subarray(9))]),
    ],
  ])("as %s is unpacked", async (_, compression, blob) => {
    expect((await unpack(pieces(blob), { compression })).equals(content)).toBe(true);
    const whole = await unpack(pieces(blob, 3_000_000), { compression, transient: true });
    expect(whole.equals(content)).toBe(true);
  });

  test("as zstd of very many frames is unpacked", async () => {
    const frames = Array.from({ length: 2_000 }, (_, at) =>
      zstdCompressSync(content.subarray(at * 500, at * 500 + 500)),
    );
    const whole = await unpack(pieces(Buffer.concat(frames), 64_000), { compression: "zstd" });
    expect(whole.equals(content.subarray(0, 1_000_000))).toBe(true);
  });

  test.each<[string, DecompressOptions["compression"], Buffer]>([
    ["cut off gzip", "gzip", gzipSync(content).subarray(0, -20)],
    ["damaged gzip", "gzip", Buffer.concat([gzipSync(content).subarray(0, 100_000), Buffer.alloc(500_000, 7)])],
    ["no gzip", "gzip", Buffer.from("<html>")],
    ["empty gzip", "gzip", Buffer.alloc(0)],
    ["cut off zstd", "zstd", zstdCompressSync(content).subarray(0, -20)],
    ["no zstd", "zstd", Buffer.from("<html>")],
  ])("that is %s is refused", async (_, compression, blob) => {
    await expect(unpack(pieces(blob), { compression })).rejects.toEqual(refusal("LAYER_CORRUPT"));
  });

  test("that swells beyond the limit is refused before it has", async () => {
    const bomb = gzipSync(Buffer.alloc(50_000_000));
    await expect(unpack(pieces(bomb), { maxBytes: 1_000_000 })).rejects.toEqual(refusal("LAYER_TOO_LARGE"));
  });

  test("passes on the error of its source", async () => {
    const blob = (async function* () {
      yield gzipSync(content).subarray(0, 1000);
      throw new Error("cut off");
    })();
    await expect(unpack(blob, {})).rejects.toThrow("cut off");
  });

  test("closes its source when its reader stops early", async () => {
    let closed = false;
    const blob = (async function* () {
      try {
        for (;;) yield gzipSync(randomBytes(100_000));
      } finally {
        closed = true;
      }
    })();
    for await (const chunk of decompress(blob, { compression: "gzip", subject: "a layer" }))
      if (chunk.length > 0) break;
    expect(closed).toBe(true);
  });
});
