// Writes the tree of one layer as tar.gz and names it by its digests.
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, statSync } from "node:fs";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { pack as createPack, type Pack } from "tar-stream";
import type { DirectoryNode, EntryMetadata, TreeNode } from "../../edge-device/layer-tree.ts";

type HeaderFacts = Parameters<Pack["entry"]>[0];

/** A layer on disk. */
export interface WrittenLayer {
  readonly file: string;
  readonly digest: string;
  readonly size: number;
  readonly diffId: string;
}

/** Writes a layer; names are in lexical order, further names of one file are hard links, no whiteouts are written. */
export async function writeLayer(tree: DirectoryNode, file: string): Promise<WrittenLayer> {
  const pack = createPack();
  const [tar, blob] = [createTap(), createTap()];
  await Promise.all([
    addChildren(pack, tree, "", new Map()).then(
      () => pack.finalize(),
      (error: unknown) => pack.destroy(error as Error),
    ),
    pipeline(pack, tar.stream, createGzip({ chunkSize: 1 << 18 }), blob.stream, createWriteStream(file)),
  ]);
  return { file, digest: blob.digest(), size: blob.size(), diffId: tar.digest() };
}

async function addChildren(
  pack: Pack,
  directory: DirectoryNode,
  path: string,
  written: Map<TreeNode, string>,
): Promise<void> {
  for (const name of [...directory.children.keys()].sort()) {
    await addNode(pack, directory.children.get(name) as TreeNode, `${path}${name}`, written);
  }
}

async function addNode(pack: Pack, node: TreeNode, path: string, written: Map<TreeNode, string>): Promise<void> {
  if (node.type === "directory") {
    const implied: EntryMetadata = { mode: 0o755, uid: 0, gid: 0, mtimeMs: 0 };
    await addEntry(pack, { ...headerOf(node.metadata ?? implied), name: `${path}/`, type: "directory" });
    await addChildren(pack, node, `${path}/`, written);
    return;
  }
  const first = written.get(node);
  if (first !== undefined) {
    await addEntry(pack, { ...headerOf(node), name: path, type: "link", linkname: first });
    return;
  }
  written.set(node, path);
  if (node.type === "symlink") {
    await addEntry(pack, { ...headerOf(node), name: path, type: "symlink", linkname: node.target });
    return;
  }
  const { size } = statSync(node.content);
  const sink = pack.entry({ ...headerOf(node), name: path, type: "file", size });
  await pipeline(createReadStream(node.content, { highWaterMark: 1 << 20 }), sink);
}

function headerOf({ mode, uid, gid, mtimeMs }: EntryMetadata): Pick<HeaderFacts, "mode" | "uid" | "gid" | "mtime"> {
  return { mode, uid, gid, mtime: new Date(Math.floor(mtimeMs / 1_000) * 1_000) };
}

function addEntry(pack: Pack, header: HeaderFacts): Promise<void> {
  return new Promise((resolve, reject) => {
    pack.entry(header, (error) => (error ? reject(error) : resolve()));
  });
}

/** A stage of a pipeline that hashes and counts. */
function createTap(): { readonly stream: Transform; digest(): string; size(): number } {
  const hash = createHash("sha256");
  let bytes = 0;
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      bytes += chunk.length;
      done(null, chunk);
    },
  });
  return { stream, digest: () => `sha256:${hash.digest("hex")}`, size: () => bytes };
}
