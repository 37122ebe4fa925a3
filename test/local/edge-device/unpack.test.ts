// Layers become root filesystems: entries, links, whiteouts and opaque directories honoured, escapes refused.
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createDirectory, stackLayer } from "../../../local/edge-device/layer-tree.ts";
import { layOut, resolveInRoot } from "../../../local/edge-device/rootfs.ts";
import { unpackLayer } from "../../../local/edge-device/unpack-layer.ts";
import type { TestEntry, TestLayer } from "./test-images.ts";
import { buildLayer, packTar, wrapLayer } from "./test-images.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lighter-unpack-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Stacks layers and lays them out; returns the root filesystem and the notes. */
async function unpack(...layers: readonly TestLayer[]): Promise<{ rootfs: string; notes: readonly string[] }> {
  const root = createDirectory();
  const notes: string[] = [];
  for (const [index, layer] of layers.entries()) {
    const files = join(folder, `layer-${index}`);
    mkdirSync(files);
    const compression = layer.mediaType.endsWith("gzip") ? "gzip" : layer.mediaType.endsWith("zstd") ? "zstd" : "none";
    const blob = Readable.from([layer.blob]);
    const unpacked = await unpackLayer({ blob, compression, diffId: layer.diffId, folder: files });
    stackLayer(root, unpacked.tree);
    notes.push(...unpacked.notes);
  }
  const rootfs = join(folder, "rootfs");
  layOut(root, rootfs);
  return { rootfs, notes };
}

async function unpackEntries(...layers: readonly (readonly TestEntry[])[]): Promise<string> {
  return (await unpack(...(await Promise.all(layers.map((entries) => buildLayer(entries)))))).rootfs;
}

/** Every path below a folder, in order. */
function list(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .sort();
}

describe("unpacking layers", () => {
  test.each(["none", "gzip", "zstd"] as const)(
    "keeps content, mode and times of a layer compressed by %s",
    async (compression) => {
      const layer = await buildLayer(
        [
          { name: "opt/", type: "directory", mode: 0o750, mtime: new Date(1_600_000_000_000) },
          { name: "opt/model.pkl", content: "weights", mode: 0o640, mtime: new Date(1_500_000_000_000) },
          { name: "opt/large.bin", content: Buffer.alloc(3 << 20, 7), mode: 0o755 },
          { name: "opt/current", type: "symlink", linkname: "/opt/model.pkl" },
        ],
        compression,
      );
      const { rootfs } = await unpack(layer);
      expect(readFileSync(join(rootfs, "opt/model.pkl"), "utf8")).toBe("weights");
      expect(statSync(join(rootfs, "opt/model.pkl")).mode & 0o7777).toBe(0o640);
      expect(statSync(join(rootfs, "opt/model.pkl")).mtimeMs).toBe(1_500_000_000_000);
      expect(statSync(join(rootfs, "opt")).mode & 0o7777).toBe(0o750);
      expect(statSync(join(rootfs, "opt")).mtimeMs).toBe(1_600_000_000_000);
      expect(readFileSync(join(rootfs, "opt/large.bin")).equals(Buffer.alloc(3 << 20, 7))).toBe(true);
      expect(readlinkSync(join(rootfs, "opt/current"))).toBe("/opt/model.pkl");
    },
  );

  test("keeps hard links as one file", async () => {
    const rootfs = await unpackEntries([
      { name: "a", content: "x" },
      { name: "b/c", type: "link", linkname: "./a" },
    ]);
    expect(statSync(join(rootfs, "b/c")).ino).toBe(statSync(join(rootfs, "a")).ino);
  });

  test("long names, PAX and non-ASCII, survive", async () => {
    const name = `${"deep/".repeat(40)}größe-模型.txt`;
    const rootfs = await unpackEntries([{ name, content: "x" }]);
    expect(readFileSync(join(rootfs, name), "utf8")).toBe("x");
  });

  test("a whiteout hides a file of a lower layer, not one of its own", async () => {
    const rootfs = await unpackEntries(
      [
        { name: "d/old", content: "1" },
        { name: "d/kept", content: "1" },
        { name: "d/both", content: "1" },
      ],
      [{ name: "d/both", content: "2" }, { name: "d/.wh.old" }, { name: "d/.wh.both" }],
    );
    expect(list(rootfs)).toEqual(["d", "d/both", "d/kept"]);
    expect(readFileSync(join(rootfs, "d/both"), "utf8")).toBe("2");
  });

  test("a whiteout hides a whole directory and a directory put in its place starts empty", async () => {
    const rootfs = await unpackEntries(
      [
        { name: "gone/x", content: "1" },
        { name: "new/x", content: "1" },
      ],
      [{ name: ".wh.gone" }, { name: ".wh.new" }, { name: "new/y", content: "2" }],
    );
    expect(list(rootfs)).toEqual(["new", "new/y"]);
  });

  test("an opaque directory hides everything below it of lower layers only", async () => {
    const rootfs = await unpackEntries(
      [
        { name: "d/old", content: "1" },
        { name: "d/sub/old", content: "1" },
      ],
      [{ name: "d/new", content: "2" }, { name: "d/.wh..wh..opq" }],
      [{ name: "d/newer", content: "3" }],
    );
    expect(list(rootfs)).toEqual(["d", "d/new", "d/newer"]);
  });

  test("upper layers change kinds: file to directory, directory to link", async () => {
    const rootfs = await unpackEntries(
      [
        { name: "a", content: "1" },
        { name: "lib/x", content: "1" },
      ],
      [
        { name: "a/b", content: "2" },
        { name: "lib", type: "symlink", linkname: "usr/lib" },
      ],
    );
    expect(list(rootfs)).toEqual(["a", "a/b", "lib"]);
    expect(readlinkSync(join(rootfs, "lib"))).toBe("usr/lib");
  });

  test("a directory implied by a path keeps the mode a lower layer gave it", async () => {
    const rootfs = await unpackEntries(
      [{ name: "d", type: "directory", mode: 0o711 }],
      [{ name: "d/x", content: "1" }],
    );
    expect(statSync(join(rootfs, "d")).mode & 0o7777).toBe(0o711);
  });

  test("replacing a file of a lower layer leaves that layer's own copy alone", async () => {
    await unpackEntries([{ name: "a", content: "one" }], [{ name: "a", content: "two" }]);
    expect(readFileSync(join(folder, "layer-0", "0"), "utf8")).toBe("one");
  });

  test("device nodes and FIFOs are skipped with a note", async () => {
    const { rootfs, notes } = await unpack(
      await buildLayer([
        { name: "dev/null", type: "character-device", devmajor: 1, devminor: 3 },
        { name: "pipe", type: "fifo" },
        { name: "x", content: "1" },
      ]),
    );
    expect(list(rootfs)).toEqual(["x"]);
    expect(notes).toContain("device nodes and FIFOs skipped");
  });
});

describe("entries that lead outside", () => {
  const refusals: readonly [string, readonly TestEntry[], string][] = [
    ["a path above the root", [{ name: "../evil", content: "x" }], "ENTRY_ESCAPES"],
    ["a path above the root after a detour", [{ name: "a/../../evil", content: "x" }], "ENTRY_ESCAPES"],
    [
      "a path through a link above the root",
      [
        { name: "a/out", type: "symlink", linkname: "../../../evil" },
        { name: "a/out/x", content: "x" },
      ],
      "ENTRY_ESCAPES",
    ],
    ["a hard link above the root", [{ name: "x", type: "link", linkname: "../../etc/passwd" }], "ENTRY_ESCAPES"],
    [
      "a hard link to what is not in the layer",
      [{ name: "x", type: "link", linkname: "/etc/passwd" }],
      "LAYER_INVALID",
    ],
    ["a whiteout of the parent", [{ name: "a/.wh..." }], "LAYER_INVALID"],
    [
      "a directory where a file is",
      [
        { name: "a", content: "x" },
        { name: "a/b", content: "x" },
      ],
      "LAYER_INVALID",
    ],
    [
      "links in a circle",
      [
        { name: "a", type: "symlink", linkname: "b" },
        { name: "b", type: "symlink", linkname: "a" },
        { name: "a/x", content: "x" },
      ],
      "LAYER_INVALID",
    ],
  ];
  test.each(refusals)("%s is refused", async (_name, entries, code) => {
    await expect(unpackEntries(entries)).rejects.toMatchObject({ name: "PullError", code });
    expect(list(folder).filter((path) => !path.startsWith("layer-0"))).toEqual([]);
  });

  test("a path through an absolute link stays inside the root", async () => {
    const rootfs = await unpackEntries([
      { name: "out", type: "symlink", linkname: folder },
      { name: "out/x", content: "inside" },
    ]);
    expect(readFileSync(join(rootfs, folder, "x"), "utf8")).toBe("inside");
    expect(() => lstatSync(join(folder, "x"))).toThrow("ENOENT");
  });
});

describe("tars that are not what they say", () => {
  test("a cut tar is refused", async () => {
    const tar = await packTar([{ name: "a", content: "x".repeat(5000) }]);
    await expect(unpack(wrapLayer(tar.subarray(0, 2048)))).rejects.toMatchObject({ code: "LAYER_INVALID" });
  });

  test("an entry that lies about its size is refused", async () => {
    const tar = await packTar([
      { name: "a", content: "x".repeat(600) },
      { name: "b", content: "y" },
    ]);
    tar.write("00000000100\0", 124, "latin1");
    tar.write("        ", 148, "latin1");
    const sum = tar.subarray(0, 512).reduce((total, byte) => total + byte, 0);
    tar.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
    await expect(unpack(wrapLayer(tar))).rejects.toMatchObject({ code: "LAYER_INVALID" });
  });

  test("bytes that are not compressed as declared are refused", async () => {
    const layer = await buildLayer([{ name: "a", content: "x" }], "none");
    const mediaType = "application/vnd.oci.image.layer.v1.tar+gzip";
    await expect(unpack({ ...layer, mediaType })).rejects.toMatchObject({ code: "LAYER_INVALID" });
  });

  test("a tar with another diff id than the configuration says is refused", async () => {
    const layer = await buildLayer([{ name: "a", content: "x" }]);
    const diffId = `sha256:${"0".repeat(64)}`;
    await expect(unpack({ ...layer, diffId })).rejects.toMatchObject({ code: "LAYER_INVALID", want: diffId });
  });
});

describe("looking up paths in a root filesystem", () => {
  test("follows links as chroot would and never leaves", () => {
    mkdirSync(join(folder, "usr/bin"), { recursive: true });
    writeFileSync(join(folder, "usr/bin/node"), "");
    symlinkSync("/usr/bin", join(folder, "bin"));
    symlinkSync("../../../../bin/node", join(folder, "usr/bin/nodejs"));
    symlinkSync("/etc", join(folder, "etc"));
    const real = realpathSync(join(folder, "usr/bin/node"));
    expect(resolveInRoot(folder, "/bin/node")).toBe(real);
    expect(resolveInRoot(folder, "/bin/nodejs")).toBe(real);
    expect(resolveInRoot(folder, "/../../bin/node")).toBe(real);
    expect(resolveInRoot(folder, "/etc/passwd")).toBeUndefined();
    expect(resolveInRoot(folder, "/usr/bin/node/x")).toBeUndefined();
    expect(resolveInRoot(folder, "/nothing")).toBeUndefined();
  });
});
