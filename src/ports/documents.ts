// Small JSON documents with optimistic concurrency: release records, ledgers, heads.

/** A document and the etag of the version that was read. */
interface Versioned<T> {
  readonly value: T;
  readonly etag: string;
}

/** One page of documents in key order; `continuation` is absent on the last. */
export interface DocumentPage<T> {
  readonly documents: readonly T[];
  readonly continuation?: string;
}

/** Documents of one kind, each named by a partition and a key. */
export interface DocumentStore<T> {
  get(partition: string, key: string): Promise<Versioned<T> | undefined>;
  /** Stores a new document; false when one is there already. */
  insert(partition: string, key: string, value: T): Promise<boolean>;
  /** Replaces the version that was read; false when another came first. */
  replace(partition: string, key: string, value: T, etag: string): Promise<boolean>;
  /** Documents of a partition whose key starts with `prefix`, at most `limit` a page. */
  list(
    partition: string,
    options?: { readonly prefix?: string; readonly limit?: number; readonly continuation?: string },
  ): Promise<DocumentPage<T>>;
}
