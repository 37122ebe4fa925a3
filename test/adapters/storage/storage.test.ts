// Documents and cached bytes in Azurite: inserted once, replaced only when unchanged, listed in order.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createAzurite, type Azurite } from "../../../local/azurite.ts";
import { listDocuments, updateDocument } from "../../../src/activities/documents.ts";
import { createByteCache } from "../../../src/adapters/storage/byte-cache.ts";
import { createDocumentStore } from "../../../src/adapters/storage/documents.ts";

const folder = mkdtempSync(join(tmpdir(), "lighter-storage-"));
let azurite: Azurite;

beforeAll(async () => {
  azurite = await createAzurite({ folder });
});

afterAll(async () => {
  await azurite.close();
  rmSync(folder, { recursive: true, force: true });
});

describe("documents", () => {
  interface Counter {
    readonly count: number;
    readonly text?: string;
  }
  const open = (table: string): ReturnType<typeof createDocumentStore<Counter>> =>
    createDocumentStore<Counter>(azurite, table);

  test("insert only when absent", async () => {
    const store = open("inserts");
    expect(await store.get("p", "k")).toBeUndefined();
    expect(await store.insert("p", "k", { count: 1 })).toBe(true);
    expect(await store.insert("p", "k", { count: 2 })).toBe(false);
    expect((await store.get("p", "k"))?.value).toEqual({ count: 1 });
  });

  test("replace only the version that was read", async () => {
    const store = open("replaces");
    await store.insert("p", "k", { count: 1 });
    const read = await store.get("p", "k");
    expect(await store.replace("p", "k", { count: 2 }, read!.etag)).toBe(true);
    expect(await store.replace("p", "k", { count: 3 }, read!.etag)).toBe(false);
    expect((await store.get("p", "k"))?.value.count).toBe(2);
  });

  test("keep long text whole, beyond what one property holds", async () => {
    const store = open("long");
    const text = "ä\u{1f600}x".repeat(15_000);
    await store.insert("p", "k", { count: 1, text });
    expect((await store.get("p", "k"))?.value.text === text).toBe(true);
    await expect(store.insert("p", "k2", { count: 1, text: "x".repeat(600_000) })).rejects.toThrowError(
      expect.objectContaining({ code: "DOCUMENT_TOO_LARGE" }),
    );
  });

  test("list by prefix, page by page, in key order", async () => {
    const store = open("lists");
    for (const key of ["b-2", "a-1", "b-1", "c-1", "b-3"]) await store.insert("p", key, { count: Number(key.at(-1)) });
    const first = await store.list("p", { prefix: "b-", limit: 2 });
    expect(first.documents.map(({ count }) => count)).toEqual([1, 2]);
    const second = await store.list("p", { prefix: "b-", limit: 2, continuation: first.continuation! });
    expect(second).toEqual({ documents: [{ count: 3 }] });
    expect(await listDocuments(store, "p")).toHaveLength(5);
  });

  test("lose no update among writers at the same time", async () => {
    const store = open("updates");
    const add = (): Promise<Counter> =>
      updateDocument(store, "p", "k", (current) => ({ count: (current?.count ?? 0) + 1 }));
    await Promise.all(Array.from({ length: 8 }, add));
    expect((await store.get("p", "k"))?.value.count).toBe(8);
  });
});

describe("the byte cache", () => {
  test("gives back what was put, and nothing for the rest", async () => {
    const cache = createByteCache(azurite, "bytes");
    expect(await cache.get("sha256:none")).toBeUndefined();
    await cache.put("sha256:some", Buffer.from("content"));
    await cache.put("sha256:some", Buffer.from("content"));
    expect(Buffer.from((await cache.get("sha256:some"))!).toString()).toBe("content");
  });
});
