// Image references as a device reads them: registry/repository[:tag][@digest].
import { PullError } from "./pull-error.ts";

/** A parsed image reference; at least one of `tag` and `digest` is set, and `digest` wins where both are. */
export interface ImageReference {
  readonly registry: string;
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: string;
}

/** The `sha256:` + 64 hex characters that content is named by. */
export const DIGEST: RegExp = /^sha256:[0-9a-f]{64}$/;
const REGISTRY = /^(?:[a-zA-Z0-9.-]+|\[[0-9a-f:]+\])(?::\d+)?$/;
const REPOSITORY = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^\w[\w.-]{0,127}$/;

/**
 * Parses an image reference with Docker's rules: the first part is a registry only when it holds `.` or `:` or is
 * `localhost`, and `latest` stands for a missing tag.
 * @throws PullError REFERENCE_INVALID
 */
export function parseImageReference(text: string): ImageReference {
  const refuse = (want: string): PullError =>
    new PullError("REFERENCE_INVALID", { operation: "parse image reference", subject: text, want });
  const at = text.indexOf("@");
  const digest = at < 0 ? undefined : text.slice(at + 1);
  const named = at < 0 ? text : text.slice(0, at);
  const colon = named.lastIndexOf(":");
  const tag = colon > named.lastIndexOf("/") ? named.slice(colon + 1) : undefined;
  const path = tag === undefined ? named : named.slice(0, colon);

  const slash = path.indexOf("/");
  const first = slash < 0 ? "" : path.slice(0, slash);
  const hasRegistry = first === "localhost" || /[.:]/.test(first);
  const registry = hasRegistry ? first : "docker.io";
  const rest = hasRegistry ? path.slice(slash + 1) : path;
  const repository = !hasRegistry && !rest.includes("/") ? `library/${rest}` : rest;

  if (!REGISTRY.test(registry)) throw refuse("a registry host");
  if (!REPOSITORY.test(repository)) throw refuse("a lower-case repository path");
  if (tag !== undefined && !TAG.test(tag)) throw refuse("a tag of at most 128 word characters");
  if (digest !== undefined && !DIGEST.test(digest)) throw refuse("a sha256 digest");
  if (digest !== undefined)
    return tag === undefined ? { registry, repository, digest } : { registry, repository, tag, digest };
  return { registry, repository, tag: tag ?? "latest" };
}
