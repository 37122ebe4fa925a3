// Bytes that look random but depend on their seed alone.
import { createCipheriv, createHash } from "node:crypto";

/** `size` bytes that depend on `seed` alone and do not compress. */
export function seededBytes(seed: string, size: number): Buffer {
  const key = createHash("sha256").update(seed).digest();
  return createCipheriv("aes-256-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(size));
}
