// Image names as docker reads them on an agent: their registry, repository and tag.
import { RunError } from "./run-error.ts";

/** A parsed image name. */
export interface ImageName {
  readonly registry: string;
  readonly repository: string;
  readonly tag: string;
  readonly digest: string | undefined;
}

const NAME =
  /^(?:([a-zA-Z0-9.-]+(?::\d+)?|localhost)\/)?([a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)(?::(\w[\w.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?$/;
const MAX_LENGTH = 512;

/**
 * Parses a name; `fallback` is the registry of names without one.
 * @throws RunError IMAGE_UNAVAILABLE for what is no name
 */
export function parseImageName(text: string, fallback: string): ImageName {
  // The first part is a registry only when it looks like a host (docker's rule).
  const [first = ""] = text.split("/");
  const hasRegistry = text.includes("/") && (/[.:]/.test(first) || first === "localhost");
  const match = text.length > MAX_LENGTH ? null : NAME.exec(hasRegistry ? text : `${fallback}/${text}`);
  if (match === null) {
    const subject = JSON.stringify(text.slice(0, 200));
    throw new RunError("IMAGE_UNAVAILABLE", { operation: "find image", subject, want: "registry/repository:tag" });
  }
  const [, registry = fallback, repository = "", tag = "latest", digest] = match;
  return { registry, repository, tag, digest };
}

/** A name with all its parts, without digest. */
export function formatImageName({ registry, repository, tag }: ImageName): string {
  return `${registry}/${repository}:${tag}`;
}
