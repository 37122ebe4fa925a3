// The images a device has installed: pulled, unpacked once per layer, laid out once per image, collected when long unused.
import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ContentStore } from "./content-store.ts";
import { openContentStore } from "./content-store.ts";
import type { DirectoryNode, EntryMetadata, LayerEntry } from "./layer-tree.ts";
import { addEntry, createDirectory, stackLayer } from "./layer-tree.ts";
import type { DevicePlatform, ImageConfig } from "./manifest.ts";
import { compressionOf } from "./manifest.ts";
import type { PulledImage, PulledLayer } from "./pull-image.ts";
import { pullImage } from "./pull-image.ts";
import { PullError } from "./pull-error.ts";
import type { RegistryClient } from "./registry-client.ts";
import { layOut } from "./rootfs.ts";
import { unpackLayer } from "./unpack-layer.ts";

/** An image ready to run. */
export interface InstalledImage {
  readonly reference: string;
  /** The image id: the digest of its configuration. */
  readonly imageHash: string;
  readonly manifestDigest: string;
  readonly rootfs: string;
  readonly config: ImageConfig;
  /** What unpacking could not carry over. */
  readonly notes: readonly string[];
}

/** A device's images by the reference they were pulled by. */
export interface ImageStore {
  /** Pulls what is missing and lays the image out. @throws PullError */
  install(reference: string, signal: AbortSignal): Promise<InstalledImage>;
  /** The image last pulled by a reference, or an earlier one of that reference by its hash. */
  find(reference: string, imageHash?: string): InstalledImage | undefined;
  /**
   * Removes images whose hash is not `inUse` and that were last used more than `unusedMs` ago, with what only they needed.
   * @returns the references removed
   */
  collect(inUse: ReadonlySet<string>, nowMs: number, unusedMs: number): string[];
}

/** Where images live and how they are fetched. */
export interface ImageStoreOptions {
  readonly folder: string;
  readonly client: RegistryClient;
  readonly platform?: DevicePlatform;
  readonly now: () => number;
}

interface ImageRecord extends Omit<InstalledImage, "rootfs"> {
  readonly layers: readonly { readonly digest: string; readonly diffId: string }[];
  lastUsedMs: number;
}

const hex = (digest: string): string => digest.slice("sha256:".length);

/** Opens the image store in `folder`; what an earlier process installed there is still installed. */
export function openImageStore({ folder, client, platform, now }: ImageStoreOptions): ImageStore {
  const content: ContentStore = openContentStore(folder);
  const [layersFolder, imagesFolder] = [join(folder, "layers"), join(folder, "rootfs")];
  const recordsFile = join(folder, "images.json");
  for (const path of [layersFolder, imagesFolder]) mkdirSync(path, { recursive: true });
  for (const parent of [layersFolder, imagesFolder]) {
    for (const name of readdirSync(parent)) if (name.endsWith(".partial")) removeFolder(join(parent, name));
  }
  const records = new Map<string, ImageRecord>(
    exists(recordsFile) ? JSON.parse(readFileSync(recordsFile, "utf8")) : [],
  );

  const save = (): void => {
    writeFileSync(`${recordsFile}.partial`, JSON.stringify([...records]));
    renameSync(`${recordsFile}.partial`, recordsFile);
  };
  const rootfsOf = (image: { readonly imageHash: string }): string => join(imagesFolder, hex(image.imageHash));
  const toInstalled = ({ layers: _layers, lastUsedMs: _used, ...image }: ImageRecord): InstalledImage => ({
    ...image,
    rootfs: rootfsOf(image),
  });

  async function unpackOnce(layer: PulledLayer): Promise<{ tree: DirectoryNode; notes: readonly string[] }> {
    const target = join(layersFolder, hex(layer.diffId));
    const index = join(target, "layer.json");
    if (!exists(index)) {
      const partial = `${target}.partial`;
      removeFolder(partial);
      mkdirSync(join(partial, "files"), { recursive: true });
      try {
        const { tree, notes } = await unpackLayer({
          blob: content.open(layer.descriptor.digest),
          compression: compressionOf(layer.descriptor),
          diffId: layer.diffId,
          folder: join(partial, "files"),
        });
        const entries = listEntries(tree, "", new Map());
        writeFileSync(join(partial, "layer.json"), JSON.stringify({ entries, notes }));
      } catch (error) {
        removeFolder(partial);
        // What was stored may have rotted on disk: the next attempt fetches it anew.
        if (error instanceof PullError && error.code === "LAYER_INVALID") content.remove(layer.descriptor.digest);
        throw error;
      }
      renameSync(partial, target);
    }
    const { entries, notes } = JSON.parse(readFileSync(index, "utf8")) as { entries: LayerEntry[]; notes: string[] };
    const tree = createDirectory();
    for (const entry of entries) {
      addEntry(tree, entry.type === "file" ? { ...entry, content: join(target, "files", entry.content) } : entry);
    }
    return { tree, notes };
  }

  async function layOutOnce(image: PulledImage): Promise<readonly string[]> {
    const target = rootfsOf({ imageHash: image.configDigest });
    const known = [...records.values()].find(({ imageHash }) => imageHash === image.configDigest);
    if (known !== undefined && exists(target)) return known.notes;
    const notes = new Set<string>();
    const root = createDirectory();
    for (const layer of image.layers) {
      const unpacked = await unpackOnce(layer);
      stackLayer(root, unpacked.tree);
      for (const note of unpacked.notes) notes.add(note);
    }
    removeFolder(target);
    layOut(root, `${target}.partial`);
    renameSync(`${target}.partial`, target);
    return [...notes].sort();
  }

  return {
    async install(reference, signal) {
      const image = await pullImage(reference, { client, store: content, signal, ...(platform && { platform }) });
      const notes = await layOutOnce(image);
      const { configDigest: imageHash, manifestDigest, config } = image;
      const layers = image.layers.map(({ descriptor, diffId }) => ({ digest: descriptor.digest, diffId }));
      const record = { reference, imageHash, manifestDigest, config, notes, layers, lastUsedMs: now() };
      // A tag that moved leaves the image it named before without a name, as in Docker, but in place.
      const former = records.get(reference);
      if (former !== undefined && former.imageHash !== imageHash)
        records.set(`${reference} ${former.imageHash}`, former);
      records.set(reference, record);
      save();
      return toInstalled(record);
    },
    find(reference, imageHash) {
      const named = records.get(reference);
      const earlier = records.get(`${reference} ${imageHash}`);
      const record = imageHash === undefined || named?.imageHash === imageHash ? named : earlier;
      return record !== undefined && exists(rootfsOf(record)) ? toInstalled(record) : undefined;
    },
    collect(inUse, nowMs, unusedMs) {
      const removed: string[] = [];
      for (const [key, record] of records) {
        if (inUse.has(record.imageHash)) record.lastUsedMs = nowMs;
        else if (nowMs - record.lastUsedMs > unusedMs) removed.push(key);
      }
      const references = removed.map((key) => (records.get(key) as ImageRecord).reference);
      for (const key of removed) records.delete(key);
      save();
      if (removed.length > 0) sweep();
      return references;
    },
  };

  /** Removes everything that no recorded image needs. */
  function sweep(): void {
    const kept = [...records.values()];
    const digests = new Set(
      kept.flatMap((image) => [image.manifestDigest, image.imageHash, ...image.layers.map(({ digest }) => digest)]),
    );
    for (const digest of content.list()) if (!digests.has(digest)) content.remove(digest);
    const diffIds = new Set(kept.flatMap((image) => image.layers.map(({ diffId }) => hex(diffId))));
    for (const name of readdirSync(layersFolder)) if (!diffIds.has(name)) removeFolder(join(layersFolder, name));
    const roots = new Set(kept.map((image) => hex(image.imageHash)));
    for (const name of readdirSync(imagesFolder)) if (!roots.has(name)) removeFolder(join(imagesFolder, name));
  }
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

function removeFolder(path: string): void {
  rmSync(path, { recursive: true, force: true });
}

const IMPLIED: EntryMetadata = { mode: 0o755, uid: 0, gid: 0, mtimeMs: 0 };

/** A tree as a list of entries that rebuilds it; content paths become names relative to the layer's files. */
function listEntries(node: DirectoryNode, path: string, seen: Map<object, string>): LayerEntry[] {
  const entries: LayerEntry[] = [];
  const at = (name: string): string => (path === "" ? name : `${path}/${name}`);
  if (node.metadata !== undefined)
    entries.push({ type: "directory", path: path === "" ? "." : path, ...node.metadata });
  const marker = (name: string): LayerEntry => ({ type: "file", path: at(name), content: "", ...IMPLIED });
  if (node.opaque) entries.push(marker(".wh..wh..opq"));
  for (const name of node.whiteouts) entries.push(marker(`.wh.${name}`));
  for (const [name, child] of node.children) {
    if (child.type === "directory") {
      entries.push(...listEntries(child, at(name), seen));
      continue;
    }
    const first = seen.get(child);
    if (first === undefined) seen.set(child, at(name));
    if (first !== undefined) entries.push({ type: "link", path: at(name), target: first });
    else if (child.type === "symlink") entries.push({ ...child, path: at(name) });
    else entries.push({ ...child, path: at(name), content: child.content.split("/").at(-1) as string });
  }
  return entries;
}
