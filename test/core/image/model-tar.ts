// Model layers to tar archives and back, by a tar library that the image core does not use.
import { extract, pack, type Header } from "tar-stream";
import { whiteoutPath } from "../../../src/core/image/entry-path.ts";
import type { ModelEntry, ModelInode } from "./model-tree.ts";

/** Writes a model layer. */
export async function packModel(entries: readonly ModelEntry[]): Promise<Buffer> {
  const archive = pack();
  for (const entry of entries) {
    const [header, content] = headerOf(entry);
    archive.entry(header, content);
  }
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function headerOf(entry: ModelEntry): [Partial<Header> & { name: string }, string] {
  if (entry.kind === "whiteout" || entry.kind === "opaque") {
    const removed = Buffer.from(whiteoutPath(Buffer.from(entry.path).toString("latin1")), "latin1").toString();
    const name = entry.kind === "whiteout" ? removed : `${entry.path}/.wh..wh..opq`;
    return [{ name, type: "file", mode: 0o600, mtime: new Date(0) }, ""];
  }
  if (entry.kind === "link")
    return [{ name: entry.path, type: "link", linkname: entry.target, mtime: new Date(0), mode: 0o644 }, ""];
  const { type, mode, uid, gid, content, xattrs, mtime } = entry.inode;
  const pax: Record<string, string> = {};
  for (const [name, value] of Object.entries(xattrs)) pax[`SCHILY.xattr.${name}`] = value;
  // The library neither writes nor applies large owners by itself.
  if (uid > 0o777777) pax["uid"] = String(uid);
  const [major = 0, minor = 0] = type.endsWith("-device") ? content.split(",").map(Number) : [];
  return [
    {
      name: entry.path,
      type,
      mode,
      uid,
      gid,
      mtime: new Date(mtime * 1000),
      ...(type === "symlink" ? { linkname: content } : {}),
      ...(type.endsWith("-device") ? { devmajor: major, devminor: minor } : {}),
      ...(Object.keys(pax).length > 0 ? { pax } : {}),
    },
    type === "file" ? content : "",
  ];
}

/** Reads an archive as a model layer. */
export async function unpackModel(tar: Buffer): Promise<ModelEntry[]> {
  const archive = extract();
  const entries: ModelEntry[] = [];
  archive.on("entry", (header, stream, next) => {
    const chunks: Buffer[] = [];
    stream.on("data", (chunk) => void chunks.push(chunk as Buffer));
    stream.on("end", () => {
      entries.push(entryOf(header, Buffer.concat(chunks).toString()));
      next();
    });
  });
  await new Promise<void>((resolve, reject) => {
    archive.on("finish", resolve);
    archive.on("error", reject);
    archive.end(tar);
  });
  return entries;
}

function entryOf(header: Header, body: string): ModelEntry {
  const pax = (header.pax ?? {}) as Record<string, string>;
  const path = header.name.replace(/^\.\//, "").replace(/\/$/, "");
  const slash = path.lastIndexOf("/");
  const name = path.slice(slash + 1);
  if (name === ".wh..wh..opq") return { kind: "opaque", path: path.slice(0, slash) };
  if (name.startsWith(".wh.")) return { kind: "whiteout", path: path.slice(0, slash + 1) + name.slice(4) };
  if (header.type === "link") return { kind: "link", path, target: header.linkname ?? "" };
  const xattrs = Object.entries(pax)
    .filter(([keyword]) => keyword.startsWith("SCHILY.xattr."))
    .map(([keyword, value]) => [keyword.slice("SCHILY.xattr.".length), value]);
  const type = header.type as ModelInode["type"];
  const device = `${header.devmajor},${header.devminor}`;
  return {
    kind: "inode",
    path,
    inode: {
      type,
      mode: header.mode ?? 0,
      uid: Number(pax["uid"] ?? header.uid ?? 0),
      gid: header.gid ?? 0,
      content: type === "symlink" ? (header.linkname ?? "") : type.endsWith("-device") ? device : body,
      xattrs: Object.fromEntries(xattrs) as Record<string, string>,
      mtime: Math.floor((header.mtime?.getTime() ?? 0) / 1000),
    },
  };
}
