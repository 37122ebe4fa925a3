// What every store of documents must do: the contract that activities rely on.
import { describe, expect, test } from "vitest";
import { listDocuments, updateDocument } from "../../../src/activities/documents.ts";
import type { DocumentStore } from "../../../src/ports/documents.ts";

/** The documents of this contract. */
export interface Counter {
  readonly count: number;
  readonly text?: string;
}

/** Runs the contract; `open` opens an empty table. */
export function describeDocumentStore(where: string, open: (table: string) => DocumentStore<Counter>): void {
  describe(`documents ${where}`, () => {
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
      for (const key of ["b-2", "a-1", "b-1", "c-1", "b-3"])
        await store.insert("p", key, { count: Number(key.at(-1)) });
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

    test("replace nothing that is not there, and take the etag of a replacement", async () => {
      const store = open("etags");
      expect(await store.replace("p", "k", { count: 1 }, 'W/"1"')).toBe(false);
      expect(await store.get("p", "k")).toBeUndefined();
      await store.insert("p", "k", { count: 1 });
      const first = (await store.get("p", "k"))!;
      await store.replace("p", "k", { count: 2 }, first.etag);
      const second = (await store.get("p", "k"))!;
      expect(second.etag).not.toBe(first.etag);
      expect(await store.replace("p", "k", { count: 3 }, second.etag)).toBe(true);
    });

    test("keep partitions apart, and share no memory with their callers", async () => {
      const store = open("partitions");
      const given = { count: 1, text: "given" };
      await store.insert("p", "k", given);
      given.text = "changed";
      expect(await store.get("q", "k")).toBeUndefined();
      expect(await store.list("q")).toEqual({ documents: [] });
      expect(await store.insert("q", "k", { count: 2 })).toBe(true);
      expect((await store.get("p", "k"))?.value).toEqual({ count: 1, text: "given" });
      expect((await store.list("p")).documents).toEqual([{ count: 1, text: "given" }]);
    });

    test("list by prefix what has it, and nothing beside", async () => {
      const store = open("prefixes");
      for (const key of ["a-1", "a-10", "ab-1", "a"]) await store.insert("p", key, { count: key.length });
      expect((await store.list("p", { prefix: "a-" })).documents).toEqual([{ count: 3 }, { count: 4 }]);
      expect((await store.list("p", { limit: 4 })).documents).toHaveLength(4);
      expect((await store.list("p", { prefix: "b" })).documents).toEqual([]);
    });
  });
}
