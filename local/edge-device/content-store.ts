// A device's content store: files named by their digest, verified while they stream in, that outlive the device's process.
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { PullError } from "./pull-error.ts";

/** What content must be to get in; `size` undefined means any size up to `limit` bytes. */
export interface ExpectedContent {
  readonly digest: string;
  readonly size?: number;
  readonly limit?: number;
}

/** Content by digest. */
export interface ContentStore {
  has(digest: string): boolean;
  /**
   * Stores `content` unless it is not what `expected` says; nothing is kept of what failed or was cut off.
   * @returns the bytes stored
   * @throws PullError DIGEST_MISMATCH, SIZE_MISMATCH
   */
  ingest(expected: ExpectedContent, content: AsyncIterable<Uint8Array>): Promise<number>;
  open(digest: string): Readable;
  read(digest: string): Promise<Buffer>;
  list(): string[];
  remove(digest: string): void;
}

/** Opens the content store in `folder`, creating it, and throws away what interrupted pulls left behind. */
export function openContentStore(folder: string): ContentStore {
  const blobs = join(folder, "blobs", "sha256");
  const ingests = join(folder, "ingest");
  mkdirSync(blobs, { recursive: true });
  rmSync(ingests, { recursive: true, force: true });
  mkdirSync(ingests, { recursive: true });
  let nextIngest = 0;
  const pathOf = (digest: string): string => join(blobs, digest.slice("sha256:".length));

  return {
    has: (digest) => statSync(pathOf(digest), { throwIfNoEntry: false }) !== undefined,
    async ingest(expected, content) {
      const partial = join(ingests, `${nextIngest++}`);
      let size = 0;
      try {
        await pipeline(
          verify(expected, content, (length) => (size += length)),
          createWriteStream(partial),
        );
        await rename(partial, pathOf(expected.digest));
        return size;
      } finally {
        await rm(partial, { force: true });
      }
    },
    open: (digest) => createReadStream(pathOf(digest), { highWaterMark: 1 << 20 }),
    read: (digest) => readFile(pathOf(digest)),
    list: () => readdirSync(blobs).map((hex) => `sha256:${hex}`),
    remove: (digest) => rmSync(pathOf(digest), { force: true }),
  };
}

async function* verify(
  expected: ExpectedContent,
  content: AsyncIterable<Uint8Array>,
  count: (length: number) => void,
): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256");
  const most = expected.size ?? expected.limit ?? Number.POSITIVE_INFINITY;
  const facts = { operation: "store content", subject: expected.digest, retryable: true };
  let size = 0;
  for await (const chunk of content) {
    size += chunk.length;
    if (size > most) {
      throw new PullError("SIZE_MISMATCH", { ...facts, got: `more than ${most} bytes`, want: `${most}` });
    }
    hash.update(chunk);
    count(chunk.length);
    yield chunk;
  }
  if (expected.size !== undefined && size !== expected.size) {
    throw new PullError("SIZE_MISMATCH", { ...facts, got: `${size} bytes`, want: `${expected.size}` });
  }
  const digest = `sha256:${hash.digest("hex")}`;
  if (digest !== expected.digest)
    throw new PullError("DIGEST_MISMATCH", { ...facts, got: digest, want: expected.digest });
}
