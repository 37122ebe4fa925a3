// The grammar of repository names, tags and digests (OCI distribution-spec 1.1, OCI image-spec descriptor.md).
import { refuse } from "./refusal.ts";

const COMPONENT = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const NAME = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const DIGEST = /^(?:sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$/;
const MAX_NAME_LENGTH = 255;

/** Whether `text` is a digest this registry can check: sha256 or sha512 in lower-case hex. */
export function isDigest(text: string): boolean {
  return DIGEST.test(text);
}

/** The algorithm and hex parts of a valid digest. */
export function splitDigest(digest: string): { algorithm: "sha256" | "sha512"; hex: string } {
  return { algorithm: digest.startsWith("sha512:") ? "sha512" : "sha256", hex: digest.slice(digest.indexOf(":") + 1) };
}

/** Returns `name` when it is a repository name; refuses with NAME_INVALID otherwise. */
export function checkName(name: string): string {
  if (name.length <= MAX_NAME_LENGTH && NAME.test(name)) return name;
  return refuse("NAME_INVALID", {
    operation: "read repository name",
    subject: name,
    want: "lower-case path components",
  });
}

/** Returns `digest` when it is one; refuses with DIGEST_INVALID otherwise. */
export function checkDigest(digest: string): string {
  if (isDigest(digest)) return digest;
  return refuse("DIGEST_INVALID", { operation: "read digest", subject: digest, want: "sha256 or sha512 in hex" });
}

/** Returns `reference` when it is a tag or a digest; refuses with DIGEST_INVALID or TAG_INVALID otherwise. */
export function checkReference(reference: string): string {
  if (reference.includes(":")) return checkDigest(reference);
  if (TAG.test(reference)) return reference;
  return refuse("TAG_INVALID", { operation: "read tag", subject: reference, want: "at most 128 of [a-zA-Z0-9._-]" });
}
