// Content digests: their grammar, and how to compute them.
import { hash } from "node:crypto";
import type { Digest } from "./descriptor.ts";

const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/** Whether `text` is a digest of a registered algorithm (OCI image-spec, descriptor.md). */
export function isDigest(text: string): text is Digest {
  return DIGEST.test(text);
}

/** The sha256 digest of `bytes`. */
export function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${hash("sha256", bytes, "hex")}`;
}
