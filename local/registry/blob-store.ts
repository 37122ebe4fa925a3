// Content-addressed files on disk, and which repositories may see each of them.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Database } from "./database.ts";
import { splitDigest } from "./names.ts";

/** Content by digest, linked into repositories. */
export interface BlobStore {
  /** Where the content is, and its size in bytes; undefined when `repository` does not hold it. */
  find(repository: string, digest: string): { readonly path: string; readonly size: number } | undefined;
  /** Links content that `from` holds into `repository`; false when `from` does not hold it. */
  mount(repository: string, digest: string, from: string): boolean;
  /** Takes over the file at `path`, whose digest the caller has checked, and links it into `repository`. */
  adopt(repository: string, digest: string, path: string): void;
  /** Removes the link; false when there was none. Content that nothing needs any more is deleted. */
  unlink(repository: string, digest: string): boolean;
  /** Stores the bytes of a manifest, which no repository sees as a blob. */
  writeManifest(digest: string, bytes: Uint8Array): void;
  readManifest(digest: string): Buffer;
  /** Deletes content that neither a repository nor a manifest record needs. */
  release(digest: string): void;
}

/**
 * Creates the store in `folder`/blobs.
 *
 * A file gets its final name by rename only when it is complete, before the row that makes it visible is committed;
 * both happen without yielding, so that no request sees one without the other. Files that a killed process left
 * without a row are deleted here.
 */
export function createBlobStore(folder: string, database: Database): BlobStore {
  const root = join(folder, "blobs");
  const staging = join(folder, "staging");
  rmSync(staging, { recursive: true, force: true });
  mkdirSync(root, { recursive: true });
  mkdirSync(staging, { recursive: true });
  let staged = 0;

  const pathOf = (digest: string): string => {
    const { algorithm, hex } = splitDigest(digest);
    return join(root, algorithm, hex.slice(0, 2), hex);
  };
  const isNeeded = (digest: string): boolean =>
    database.has("SELECT 1 FROM blob_links WHERE digest = ?", digest) ||
    database.has("SELECT 1 FROM manifests WHERE digest = ?", digest);
  const isLinked = (repository: string, digest: string): boolean =>
    database.has("SELECT 1 FROM blob_links WHERE repository = ? AND digest = ?", repository, digest);
  const link = (repository: string, digest: string): void => {
    database.run("INSERT OR IGNORE INTO blob_links (repository, digest) VALUES (?, ?)", repository, digest);
  };
  const place = (path: string, digest: string): void => {
    const target = pathOf(digest);
    mkdirSync(dirname(target), { recursive: true });
    renameSync(path, target);
  };
  const release = (digest: string): void => {
    if (!isNeeded(digest)) rmSync(pathOf(digest), { force: true });
  };

  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    if (entry.isFile())
      release(`${entry.parentPath.includes(join(root, "sha512")) ? "sha512" : "sha256"}:${entry.name}`);
  }

  return {
    find(repository, digest) {
      if (!isLinked(repository, digest)) return undefined;
      const path = pathOf(digest);
      return { path, size: statSync(path).size };
    },
    mount(repository, digest, from) {
      if (!isLinked(from, digest)) return false;
      link(repository, digest);
      return true;
    },
    adopt(repository, digest, path) {
      if (existsSync(pathOf(digest))) rmSync(path);
      else place(path, digest);
      link(repository, digest);
    },
    unlink(repository, digest) {
      const removed = database.run("DELETE FROM blob_links WHERE repository = ? AND digest = ?", repository, digest);
      if (removed > 0) release(digest);
      return removed > 0;
    },
    writeManifest(digest, bytes) {
      if (existsSync(pathOf(digest))) return;
      const path = join(staging, String(staged++));
      writeFileSync(path, bytes);
      place(path, digest);
    },
    readManifest: (digest) => readFileSync(pathOf(digest)),
    release,
  };
}
