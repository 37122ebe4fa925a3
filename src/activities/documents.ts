// Changes documents by compare-and-swap.
import { LighterError } from "../core/errors.ts";
import type { DocumentStore } from "../ports/documents.ts";

/** How often a change is computed anew because another writer came first. */
const MAX_CONFLICTS = 50;

/**
 * Reads, changes and writes a document until no other writer interferes; returns the stored value.
 *
 * `change` gets undefined when there is no document; returning the value it got writes nothing.
 * @throws LighterError DOCUMENT_CONTENDED (retryable)
 */
export async function updateDocument<T>(
  store: DocumentStore<T>,
  partition: string,
  key: string,
  change: (current: T | undefined) => T,
): Promise<T> {
  for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts++) {
    const current = await store.get(partition, key);
    const next = change(current?.value);
    if (current === undefined) {
      if (await store.insert(partition, key, next)) return next;
    } else {
      if (next === current.value) return next;
      if (await store.replace(partition, key, next, current.etag)) return next;
    }
  }
  throw new LighterError("DOCUMENT_CONTENDED", {
    operation: "update document",
    subject: `${partition}/${key}`,
    got: `${MAX_CONFLICTS} conflicting writes`,
    retryable: true,
  });
}

/** Reads all documents of a partition whose keys start with `prefix`. */
export async function listDocuments<T>(store: DocumentStore<T>, partition: string, prefix = ""): Promise<T[]> {
  const found: T[] = [];
  let continuation: string | undefined;
  do {
    const page = await store.list(partition, { prefix, ...(continuation === undefined ? {} : { continuation }) });
    found.push(...page.documents);
    continuation = page.continuation;
  } while (continuation !== undefined);
  return found;
}
