// Blob uploads in progress: chunks appended to a file until the client names the digest it wants.
import { createHash, type Hash } from "node:crypto";
import { createReadStream, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import type { BlobStore } from "./blob-store.ts";
import type { Database } from "./database.ts";
import { splitDigest } from "./names.ts";
import { refuse } from "./refusal.ts";

const ABANDONED_AFTER_MS = 24 * 60 * 60_000;

/** Upload sessions; an unknown session is refused with BLOB_UPLOAD_UNKNOWN. */
export interface Uploads {
  /** Starts a session and returns its id. */
  start(repository: string): string;
  /** The number of bytes received so far. */
  sizeOf(repository: string, id: string): number;
  /** Appends what comes, keeping what arrived even when the connection breaks, and returns the new size. */
  append(repository: string, id: string, content: AsyncIterable<Uint8Array>): Promise<number>;
  /** Makes the content a blob of the repository, or drops it and refuses with DIGEST_INVALID. */
  finish(repository: string, id: string, digest: string): Promise<void>;
  cancel(repository: string, id: string): void;
}

/** What is remembered while the process lives: the running sha256 and how many bytes it has seen. */
interface Progress {
  readonly sha256: Hash;
  hashed: number;
}

/**
 * Creates the sessions in `folder`/uploads; they survive a restart and can be resumed for a day.
 *
 * The content is hashed while it arrives; only after a restart, or for sha512, the file is read again at the end.
 */
export function createUploads(options: {
  readonly folder: string;
  readonly database: Database;
  readonly blobs: BlobStore;
  readonly now: () => number;
  readonly createId: () => string;
}): Uploads {
  const { database, blobs, now, createId } = options;
  const folder = join(options.folder, "uploads");
  const progress = new Map<string, Progress>();
  const busy = new Set<string>();
  const pathOf = (id: string): string => join(folder, id);

  mkdirSync(folder, { recursive: true });
  database.run("DELETE FROM uploads WHERE started < ?", now() - ABANDONED_AFTER_MS);
  const files = new Set(readdirSync(folder));
  for (const { id } of database.all<{ id: string }>("SELECT id FROM uploads")) {
    if (!files.delete(id)) database.run("DELETE FROM uploads WHERE id = ?", id);
  }
  for (const id of files) rmSync(pathOf(id));

  const checkKnown = (operation: string, repository: string, id: string): void => {
    const known = database.has("SELECT 1 FROM uploads WHERE id = ? AND repository = ?", id, repository);
    if (!known) refuse("BLOB_UPLOAD_UNKNOWN", { operation, subject: `${repository} ${id}` });
  };
  const check = (operation: string, repository: string, id: string): void => {
    checkKnown(operation, repository, id);
    if (busy.has(id)) {
      refuse("BLOB_UPLOAD_INVALID", {
        operation,
        subject: `${repository} ${id}`,
        got: "another request still writing to it",
        status: 409,
      });
    }
  };
  const forget = (id: string): void => {
    progress.delete(id);
    database.run("DELETE FROM uploads WHERE id = ?", id);
    rmSync(pathOf(id), { force: true });
  };
  const hold = async <T>(id: string, work: () => Promise<T>): Promise<T> => {
    busy.add(id);
    try {
      return await work();
    } finally {
      busy.delete(id);
    }
  };
  const digestOf = async (id: string, algorithm: "sha256" | "sha512"): Promise<string> => {
    const known = progress.get(id);
    if (algorithm === "sha256" && known?.hashed === statSync(pathOf(id)).size) {
      return `sha256:${known.sha256.copy().digest("hex")}`;
    }
    const hash = createHash(algorithm);
    for await (const chunk of createReadStream(pathOf(id), { highWaterMark: 1 << 18 })) hash.update(chunk as Buffer);
    return `${algorithm}:${hash.digest("hex")}`;
  };

  return {
    start(repository) {
      const id = createId();
      writeFileSync(pathOf(id), "");
      database.run("INSERT INTO uploads (id, repository, started) VALUES (?, ?, ?)", id, repository, now());
      progress.set(id, { sha256: createHash("sha256"), hashed: 0 });
      return id;
    },
    sizeOf(repository, id) {
      checkKnown("read upload", repository, id);
      return statSync(pathOf(id)).size;
    },
    async append(repository, id, content) {
      check("append to upload", repository, id);
      return await hold(id, async () => {
        const running = progress.get(id);
        const file = await open(pathOf(id), "a");
        try {
          for await (const chunk of content) {
            await file.appendFile(chunk);
            if (running === undefined) continue;
            running.sha256.update(chunk);
            running.hashed += chunk.byteLength;
          }
          return (await file.stat()).size;
        } finally {
          await file.close();
        }
      });
    },
    async finish(repository, id, digest) {
      check("finish upload", repository, id);
      const got = await hold(id, async () => await digestOf(id, splitDigest(digest).algorithm));
      if (got === digest) blobs.adopt(repository, digest, pathOf(id));
      forget(id);
      if (got !== digest)
        refuse("DIGEST_INVALID", { operation: "finish upload", subject: repository, got, want: digest });
    },
    cancel(repository, id) {
      check("cancel upload", repository, id);
      forget(id);
    },
  };
}
