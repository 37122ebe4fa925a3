// Documents in memory that behave as the rows of an Azure table do.
import { LighterError } from "../../src/core/errors.ts";
import type { DocumentStore } from "../../src/ports/documents.ts";

/** A store whose rows a test may look at and put back. */
export interface MemoryDocumentStore<T> extends DocumentStore<T> {
  /** `partition/key` → JSON text and version. */
  readonly rows: Map<string, { readonly text: string; readonly version: number }>;
}

/** The adapter's limit: 15 properties of 32,000 ASCII characters. */
const MAX_CHARACTERS = 480_000;

const asciiLength = (text: string): number => text.replaceAll(/[\u0080-\uffff]/g, "\\u0000").length;

/** Creates an empty store. Nothing it gives shares memory with what it holds. */
export function createMemoryDocumentStore<T>(): MemoryDocumentStore<T> {
  const rows: MemoryDocumentStore<T>["rows"] = new Map();
  let versions = 0;

  function write(partition: string, key: string, value: T): void {
    const text = JSON.stringify(value);
    if (asciiLength(text) > MAX_CHARACTERS) {
      throw new LighterError("DOCUMENT_TOO_LARGE", { operation: "store document", subject: `${partition}/${key}` });
    }
    rows.set(`${partition}/${key}`, { text, version: ++versions });
  }

  return {
    rows,
    async get(partition, key) {
      const row = rows.get(`${partition}/${key}`);
      return row && { value: JSON.parse(row.text) as T, etag: `W/"${row.version}"` };
    },
    async insert(partition, key, value) {
      if (rows.has(`${partition}/${key}`)) return false;
      write(partition, key, value);
      return true;
    },
    async replace(partition, key, value, etag) {
      if (`W/"${rows.get(`${partition}/${key}`)?.version}"` !== etag) return false;
      write(partition, key, value);
      return true;
    },
    async list(partition, { prefix = "", limit = 100, continuation = "" } = {}) {
      const keys = [...rows.keys()]
        .filter((key) => key.startsWith(`${partition}/${prefix}`) && key > continuation)
        .sort();
      const page = keys.slice(0, limit);
      const documents = page.map((key) => JSON.parse(rows.get(key)?.text ?? "") as T);
      return page.length < keys.length ? { documents, continuation: page.at(-1) ?? "" } : { documents };
    },
  };
}
