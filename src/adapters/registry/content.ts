// Checks content against its descriptor while it streams by: never more than its size, and the digest at the end.
import { createHash, type Hash } from "node:crypto";
import type { Descriptor, Digest } from "../../core/image/descriptor.ts";
import { fail, type Operation } from "./failure.ts";

const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/** Whether a text is a digest of an algorithm we can check. */
export function isDigest(text: string): text is Digest {
  return DIGEST.test(text);
}

/** The digest of bytes, by the algorithm of another digest; sha256 unless told. */
export function digestOf(bytes: Uint8Array, like: Digest | "sha256:" = "sha256:"): Digest {
  const algorithm = like.startsWith("sha512:") ? "sha512" : "sha256";
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
}

/** Follows content as it arrives. `received` counts bytes; `add` and `finish` throw when it is not what was described. */
export interface ContentCheck {
  readonly received: number;
  /** @throws RegistryError SIZE_MISMATCH when there are more bytes than described. */
  add(chunk: Uint8Array): void;
  /** @throws RegistryError SIZE_MISMATCH, DIGEST_MISMATCH */
  finish(): void;
}

/** Creates the check of one piece of content. */
export function createContentCheck(operation: Operation, { digest, size }: Descriptor): ContentCheck {
  const hash: Hash = createHash(digest.startsWith("sha512:") ? "sha512" : "sha256");
  let received = 0;
  return {
    get received() {
      return received;
    },
    add(chunk) {
      received += chunk.length;
      if (received > size) throw fail("SIZE_MISMATCH", operation, { got: `over ${size} bytes`, want: `${size} bytes` });
      hash.update(chunk);
    },
    finish() {
      if (received !== size) {
        throw fail("SIZE_MISMATCH", operation, { got: `${received} bytes`, want: `${size} bytes` });
      }
      const actual = `${digest.slice(0, digest.indexOf(":"))}:${hash.digest("hex")}`;
      if (actual !== digest) throw fail("DIGEST_MISMATCH", operation, { got: actual, want: digest });
    },
  };
}

/** A source of content with its check built in. */
export interface CheckedSource {
  /** The content; ends only if it is what was described. */
  readonly stream: AsyncIterable<Uint8Array>;
  /** Throws what the source itself or its check failed with, if anything, whatever has been made of it since. */
  rethrow(): void;
}

/** Passes content through its check on the way to a registry. */
export function createCheckedSource(
  operation: Operation,
  descriptor: Descriptor,
  content: AsyncIterable<Uint8Array>,
): CheckedSource {
  const check = createContentCheck(operation, descriptor);
  let failure: { readonly error: unknown } | undefined;
  async function* read(): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of content) {
        check.add(chunk);
        yield chunk;
      }
      check.finish();
    } catch (error) {
      failure = { error };
      throw error;
    }
  }
  return {
    stream: read(),
    rethrow() {
      if (failure !== undefined) throw failure.error;
    },
  };
}
