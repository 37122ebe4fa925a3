// Documents and cached bytes in Azurite, and the documents in memory that other tests use in their place.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createAzurite, type Azurite } from "../../../local/azurite.ts";
import { createByteCache } from "../../../src/adapters/storage/byte-cache.ts";
import { createDocumentStore } from "../../../src/adapters/storage/documents.ts";
import { createMemoryDocumentStore } from "../../support/memory-documents.ts";
import { describeDocumentStore } from "./documents-contract.ts";

const folder = mkdtempSync(join(tmpdir(), "lighter-storage-"));
let azurite: Azurite;

beforeAll(async () => {
  azurite = await createAzurite({ folder });
});

afterAll(async () => {
  await azurite.close();
  rmSync(folder, { recursive: true, force: true });
});

describeDocumentStore("in Azurite", (table) => createDocumentStore(azurite, table));
describeDocumentStore("in memory", () => createMemoryDocumentStore());

describe("the byte cache", () => {
  test("gives back what was put, and nothing for the rest", async () => {
    const cache = createByteCache(azurite, "bytes");
    expect(await cache.get("sha256:none")).toBeUndefined();
    await cache.put("sha256:some", Buffer.from("content"));
    await cache.put("sha256:some", Buffer.from("content"));
    expect(Buffer.from((await cache.get("sha256:some"))!).toString()).toBe("content");
  });
});
