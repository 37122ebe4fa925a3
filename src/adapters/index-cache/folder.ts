// A byte cache in a folder of files, for the command line.
import { randomUUID } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ByteCache } from "../../ports/byte-cache.ts";

/**
 * Creates a cache whose entries are files below `folder`, which is made on first use. Writing is atomic, so that
 * several processes may share a folder; a folder that cannot be read or written is as good as an empty one.
 */
export function createFolderCache(folder: string): ByteCache {
  const fileOf = (name: string): string => join(folder, ...name.split("/").map(encodeURIComponent));
  return {
    async get(name) {
      return await readFile(fileOf(name)).catch(() => undefined);
    },
    async put(name, bytes) {
      const file = fileOf(name);
      const temporary = `${file}.${randomUUID()}`;
      try {
        await mkdir(dirname(file), { recursive: true });
        await writeFile(temporary, bytes);
        await rename(temporary, file);
      } catch {
        return;
      }
    },
  };
}
