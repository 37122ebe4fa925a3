// A cache of immutable byte strings by name, e.g. layer indexes by digest.

/** Stores bytes under a name; losing any of them costs time only. */
export interface ByteCache {
  get(name: string): Promise<Uint8Array | undefined>;
  put(name: string, bytes: Uint8Array): Promise<void>;
}
