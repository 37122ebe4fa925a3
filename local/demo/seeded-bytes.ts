// Incompressible bytes that are the same for the same seed, made at the speed of the machine's AES.
import { createCipheriv, createHash } from "node:crypto";

/** `length` pseudo-random bytes that depend on `seed` and `label` alone (the key stream of AES-128 in counter mode). */
export function createSeededBytes(seed: number, label: string, length: number): Buffer {
  const key = createHash("sha256").update(`${seed}/${label}`).digest();
  return createCipheriv("aes-128-ctr", key.subarray(0, 16), key.subarray(16)).update(Buffer.alloc(length));
}
