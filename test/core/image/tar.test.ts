// The tar reader and writer: against GNU tar, against a library, and against archives that lie.
import * as fc from "fast-check";
import { spawnSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  linkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { extract } from "tar-stream";
import { afterAll, describe, expect, test } from "vitest";
import { parsePax } from "../../../src/core/image/tar/pax.ts";
import { BLOCK, writeHeaderBlock, type TarHeader, type TarType } from "../../../src/core/image/tar/tar-header.ts";
import { createTarReader } from "../../../src/core/image/tar/tar-reader.ts";
import { encodeTarHeader, TAR_END, tarPadding } from "../../../src/core/image/tar/tar-writer.ts";
import { count } from "../../counts.ts";

interface ReadEntry {
  readonly header: TarHeader;
  readonly content: string;
}

/** Reads an archive that arrives in pieces of `size` bytes. */
function readTar(tar: Buffer, size = 1000): ReadEntry[] {
  const entries: { header: TarHeader; content: string }[] = [];
  const reader = createTarReader(
    {
      entry: (header) => entries.push({ header, content: "" }),
      content(piece) {
        const last = entries.at(-1);
        if (last) last.content += piece.toString("latin1");
      },
      end: () => undefined,
    },
    "an archive",
  );
  for (let at = 0; at < tar.length; at += size) reader.write(tar.subarray(at, at + size));
  reader.end();
  return entries;
}

function writeTar(entries: readonly ReadEntry[]): Buffer {
  const parts = entries.flatMap(({ header, content }) => {
    const bytes = Buffer.from(content, "latin1");
    return [encodeTarHeader(header), bytes, tarPadding(bytes.length)];
  });
  return Buffer.concat([...parts, TAR_END]);
}

const header = (facts: Partial<TarHeader>): TarHeader => ({
  path: "a",
  type: "file",
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 0,
  mtime: 0,
  mtimeNanos: 0,
  linkname: "",
  deviceMajor: 0,
  deviceMinor: 0,
  ...facts,
});

/** Byte strings without NUL, names may be anything else; plain ones are printable ASCII. */
const bytes = (max: number, plain = false) =>
  fc
    .array(
      fc.oneof(
        { weight: 5, arbitrary: fc.integer({ min: 97, max: 122 }) },
        plain ? fc.integer({ min: 32, max: 126 }) : fc.integer({ min: 1, max: 255 }),
      ),
      {
        minLength: 1,
        maxLength: max,
      },
    )
    .map((codes) => String.fromCharCode(...codes).replaceAll("/", "_"));

const TYPES: readonly TarType[] = ["file", "link", "symlink", "character-device", "block-device", "directory", "fifo"];

const entryOf = (plain: boolean): fc.Arbitrary<ReadEntry> =>
  fc
    .record({
      type: fc.constantFrom(...(plain ? TYPES.filter((type) => type !== "link") : TYPES)),
      path: fc.array(bytes(90, plain), { minLength: 1, maxLength: 3 }).map((parts) => parts.join("/")),
      linkname: bytes(200, plain),
      mode: fc.integer({ min: 0, max: 0o7777 }),
      uid: plain ? fc.nat({ max: 0o777777 }) : fc.oneof(fc.nat({ max: 0o7777777 }), fc.nat()),
      gid: plain ? fc.nat({ max: 0o777777 }) : fc.oneof(fc.nat({ max: 0o7777777 }), fc.nat()),
      mtime: plain ? fc.nat() : fc.oneof(fc.nat(), fc.integer({ min: -1_000_000, max: 10_000_000_000 })),
      mtimeNanos: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 999_999_999 })),
      device: fc.nat({ max: 0o7777777 }),
      xattrs: fc.dictionary(
        bytes(20).map((name) => name.replaceAll("=", "_")),
        bytes(50),
        { maxKeys: 3, noNullPrototype: true },
      ),
      content: bytes(2000),
    })
    .map(({ type, device, xattrs, content, linkname, path, ...rest }) => {
      const isDevice = type === "character-device" || type === "block-device";
      const names = Object.entries(xattrs).sort(([left], [right]) => (left < right ? -1 : 1));
      return {
        header: header({
          ...rest,
          type,
          path: type === "directory" ? `${path}/` : path,
          size: type === "file" ? content.length : 0,
          linkname: type === "link" || type === "symlink" ? linkname : "",
          deviceMajor: isDevice ? device : 0,
          deviceMinor: isDevice ? device >> 3 : 0,
          ...(names.length > 0 ? { xattrs: Object.fromEntries(names) } : {}),
        }),
        content: type === "file" ? content : "",
      };
    });

describe("tar, written and read", () => {
  test("comes back as it was, whatever the chunk size", () => {
    fc.assert(
      fc.property(fc.array(entryOf(false), { maxLength: 4 }), fc.integer({ min: 1, max: 3000 }), (entries, size) => {
        expect(readTar(writeTar(entries), size)).toEqual(entries);
      }),
      { numRuns: count("tarArchives"), seed: 1 },
    );
  });

  test("is read the same by another library", async () => {
    // The library decodes names as UTF-8, ignores PAX owners and times, and follows the path of links.
    const plain = entryOf(true);
    await fc.assert(
      fc.asyncProperty(fc.array(plain, { maxLength: 4 }), async (entries) => {
        const archive = extract();
        const seen: unknown[] = [];
        archive.on("entry", (found, stream, next) => {
          const parts: Buffer[] = [];
          stream.on("data", (part) => void parts.push(part as Buffer));
          stream.on("end", () => {
            const { name, type, mode, uid, gid, size, linkname } = found;
            const content = Buffer.concat(parts).toString("latin1");
            seen.push({ name, type, mode, uid, gid, size, linkname: linkname ?? "", content });
            next();
          });
        });
        await new Promise<void>((resolve, reject) => {
          archive.on("finish", resolve);
          archive.on("error", reject);
          archive.end(writeTar(entries));
        });
        expect(seen).toEqual(
          entries.map(({ header: { path, type, mode, uid, gid, size, linkname }, content }) => {
            return { name: path, type, mode, uid, gid, size, linkname, content };
          }),
        );
      }),
      { numRuns: count("tarArchives"), seed: 2 },
    );
  });
});

describe("archives of GNU tar", () => {
  const folder = mkdtempSync(join(tmpdir(), "lighter-tar-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const long = `${"n".repeat(90)}/${"m".repeat(90)}`;
  mkdirSync(join(folder, "tree", long), { recursive: true });
  writeFileSync(join(folder, "tree", long, "äöü"), "umlauts");
  writeFileSync(join(folder, "tree", "plain"), "x".repeat(5000));
  linkSync(join(folder, "tree", "plain"), join(folder, "tree", "same"));
  symlinkSync("t".repeat(150), join(folder, "tree", "symbolic"));
  utimesSync(join(folder, "tree", "plain"), 1_700_000_000, 1_700_000_000.25);

  const run = (...args: string[]): Buffer => {
    const { status, stdout, stderr } = spawnSync("tar", [...args, "-C", folder, "-c", "--sort=name", "tree"]);
    expect(stderr.toString()).toBe("");
    expect(status).toBe(0);
    return stdout;
  };

  test.each(["gnu", "pax", "ustar", "oldgnu"])("in format %s are read in full", (format) => {
    const short = format === "ustar" ? ["--exclude=symbolic"] : [];
    const found = readTar(
      run(`--format=${format}`, "--owner=root:3000000", ...short, ...(format === "ustar" ? ["--owner=root:7"] : [])),
    );
    const byName = new Map(found.map((one) => [Buffer.from(one.header.path, "latin1").toString(), one]));
    expect(byName.get(`tree/${long}/äöü`)?.content).toBe("umlauts");
    expect(byName.get("tree/plain")?.content).toBe("x".repeat(5000));
    expect(byName.get("tree/same")?.header).toMatchObject({ type: "link", linkname: "tree/plain", size: 0 });
    expect(byName.get("tree/plain")?.header.uid).toBe(format === "ustar" ? 7 : 3_000_000);
    expect(byName.get("tree/plain")?.header.mtime).toBe(1_700_000_000);
    expect(byName.get("tree/plain")?.header.mtimeNanos).toBe(format === "pax" ? 250_000_000 : 0);
    if (format !== "ustar")
      expect(byName.get("tree/symbolic")?.header).toMatchObject({ type: "symlink", linkname: "t".repeat(150) });
  });

  test("with sparse files are refused", () => {
    writeFileSync(join(folder, "tree", "sparse"), "");
    truncateSync(join(folder, "tree", "sparse"), 1_048_576);
    for (const format of ["gnu", "pax"])
      expect(() => readTar(run("-S", `--format=${format}`))).toThrow(
        expect.objectContaining({ code: "TAR_UNSUPPORTED" }),
      );
    rmSync(join(folder, "tree", "sparse"));
  });
});

describe("archives with extended headers", () => {
  const pax = (flag: "x" | "g", records: string): Buffer => {
    const payload = Buffer.from(records);
    const facts = { ...header({ path: "pax", size: payload.length }), typeflag: flag };
    return Buffer.concat([writeHeaderBlock(facts), payload, tarPadding(payload.length)]);
  };

  test("let local records go before global ones and empty ones withdraw", () => {
    const tar = Buffer.concat([
      pax("g", "12 uid=4242\n13 gid=77777\n"),
      encodeTarHeader(header({ path: "first" })),
      pax("x", "12 uid=4343\n7 gid=\n"),
      encodeTarHeader(header({ path: "second", gid: 5 })),
      TAR_END,
    ]);
    const owners = readTar(tar).map(({ header: { path, uid, gid } }) => [path, uid, gid]);
    expect(owners).toEqual([
      ["first", 4242, 77777],
      ["second", 4343, 5],
    ]);
  });

  test("take their size over the header's", () => {
    const lying = encodeTarHeader(header({ path: "big", size: 3 }));
    const tar = Buffer.concat([pax("x", "12 size=600\n"), lying, Buffer.alloc(600, "z"), tarPadding(600), TAR_END]);
    expect(readTar(tar, 7).map(({ content }) => content.length)).toEqual([600]);
  });

  test.each(["0 a=b\n", "6 a=b", "99 a=b\n", "x a=b\n", "5 a b\n", "6 a=bc\n"])(
    "malformed as %j are refused",
    (records) => {
      expect(() => parsePax(Buffer.from(records), "an archive")).toThrow(
        expect.objectContaining({ code: "TAR_INVALID" }),
      );
    },
  );

  test("larger than a megabyte are refused before they are held", () => {
    const facts = { ...header({ path: "pax", size: 2 * 1024 * 1024 }), typeflag: "x" };
    expect(() => readTar(writeHeaderBlock(facts))).toThrow(expect.objectContaining({ code: "TAR_INVALID" }));
  });
});

describe("archives that lie", () => {
  const file = (content: string, size = content.length): Buffer =>
    Buffer.concat([encodeTarHeader(header({ size })), Buffer.from(content), tarPadding(content.length)]);

  test("by a size beyond their end are truncated", () => {
    expect(() => readTar(file("abc", 5000))).toThrow(expect.objectContaining({ code: "TAR_TRUNCATED" }));
  });

  test("by a size short of their content are invalid", () => {
    const tar = Buffer.concat([file("x".repeat(1500), 10), TAR_END]);
    expect(() => readTar(tar)).toThrow(expect.objectContaining({ code: "TAR_INVALID" }));
  });

  test("by a changed header are invalid", () => {
    const tar = Buffer.concat([file("abc"), TAR_END]);
    tar[3] = 0x41;
    expect(() => readTar(tar)).toThrow(expect.objectContaining({ code: "TAR_INVALID" }));
  });

  test("by a negative size are invalid", () => {
    const block = writeHeaderBlock({ ...header({}), typeflag: "0" });
    block.fill(0xff, 124, 136);
    fixChecksum(block);
    expect(() => readTar(Buffer.concat([block, TAR_END]))).toThrow(expect.objectContaining({ code: "TAR_INVALID" }));
  });

  test("by going on after a zero block are invalid, but not after two", () => {
    const zero = Buffer.alloc(BLOCK);
    expect(() => readTar(Buffer.concat([file("a"), zero, file("b")]))).toThrow(
      expect.objectContaining({ code: "TAR_INVALID" }),
    );
    expect(readTar(Buffer.concat([file("a"), zero, zero, file("b")]))).toHaveLength(1);
  });

  test("by an unknown kind of entry are refused", () => {
    const block = writeHeaderBlock({ ...header({}), typeflag: "Z" });
    expect(() => readTar(block)).toThrow(expect.objectContaining({ code: "TAR_UNSUPPORTED" }));
  });

  test("may end without zero blocks", () => {
    expect(readTar(file("abc"))).toHaveLength(1);
  });
});

test("base-256 numbers are read", () => {
  const block = writeHeaderBlock({ ...header({}), typeflag: "5" });
  block.fill(0, 108, 116);
  block[108] = 0x80;
  block.writeUInt32BE(4_000_000_000, 112);
  block.fill(0xff, 136, 148);
  fixChecksum(block);
  expect(readTar(Buffer.concat([block, TAR_END]))[0]?.header).toMatchObject({ uid: 4_000_000_000, mtime: -1 });
});

function fixChecksum(block: Buffer): void {
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
}
