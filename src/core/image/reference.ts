// Image references: registry, repository and tag or digest, in the grammar that Docker and OCI clients share.
import type { Digest } from "./descriptor.ts";
import { isDigest } from "./digest.ts";
import { ImageError } from "./image-error.ts";

/** A parsed reference; `tag` is `latest` when the text names neither tag nor digest. */
export interface Reference {
  readonly registry: string;
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

/** Docker Hub's name in references and the host that answers for it. */
const DOCKER_HUB = "docker.io";
const DOCKER_HUB_ALIASES: readonly string[] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

const MAX_REPOSITORY_LENGTH = 255;
const HOST =
  /^(?:\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*)(?::\d{1,5})?$/;
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^\w[\w.-]{0,127}$/;

/** Whether `text` may be a tag (OCI distribution-spec). */
export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** Whether `text` may be a repository name (OCI distribution-spec). */
function isRepositoryName(text: string): boolean {
  return text.length <= MAX_REPOSITORY_LENGTH && REPOSITORY.test(text);
}

/**
 * Parses e.g. `fleet.azurecr.io/team/app:2`, `127.0.0.1:5000/app@sha256:…`, or the Docker Hub shorthands `ubuntu` and
 * `team/app`, following distribution/reference.
 *
 * @throws ImageError REFERENCE_INVALID
 */
export function parseReference(text: string): Reference {
  const refuse = (want: string): never => {
    throw new ImageError("REFERENCE_INVALID", { operation: "parse reference", subject: JSON.stringify(text), want });
  };
  const [beforeDigest = "", digest, ...surplus] = text.split("@");
  if (surplus.length > 0) return refuse("one digest at most");
  if (digest !== undefined && !isDigest(digest)) return refuse("a digest sha256:<64 hex> after @");

  const colon = beforeDigest.lastIndexOf(":");
  const hasTag = colon > beforeDigest.lastIndexOf("/");
  const tag = hasTag ? beforeDigest.slice(colon + 1) : undefined;
  const name = hasTag ? beforeDigest.slice(0, colon) : beforeDigest;
  if (tag !== undefined && !isTag(tag)) return refuse("a tag of at most 128 letters, digits, '_', '.', '-'");

  const { registry, repository } = splitName(name);
  if (!HOST.test(registry)) return refuse("a registry host with an optional port");
  if (!isRepositoryName(repository)) return refuse("a lower-case repository name of at most 255 characters");
  if (digest !== undefined) return { registry, repository, ...(tag === undefined ? {} : { tag }), digest };
  return { registry, repository, tag: tag ?? "latest" };
}

/**
 * Parses a repository, e.g. `fleet.azurecr.io/team/app`.
 * @throws ImageError REFERENCE_INVALID, also for a reference with a tag or digest
 */
export function parseRepository(text: string): Pick<Reference, "registry" | "repository"> {
  if (/:[^/]*$|@/.test(text))
    throw new ImageError("REFERENCE_INVALID", {
      operation: "parse repository",
      subject: JSON.stringify(text),
      want: "registry/repository without tag or digest",
    });
  const { registry, repository } = parseReference(text);
  return { registry, repository };
}

/** The first part of a name is a host if it could not be a repository's: it has a dot, a port, capitals, or is localhost. */
function splitName(name: string): { registry: string; repository: string } {
  const slash = name.indexOf("/");
  const first = name.slice(0, Math.max(slash, 0));
  const isHost = /[.:]/.test(first) || first === "localhost" || first !== first.toLowerCase();
  const registry = slash > 0 && isHost ? first : DOCKER_HUB;
  const repository = slash > 0 && isHost ? name.slice(slash + 1) : name;
  if (!DOCKER_HUB_ALIASES.includes(registry)) return { registry, repository };
  return { registry: DOCKER_HUB, repository: repository.includes("/") ? repository : `library/${repository}` };
}

/** What to ask a registry for: the digest if there is one, else the tag. */
export function tagOrDigest(reference: Reference): string {
  return reference.digest ?? reference.tag ?? "latest";
}

/** Writes a reference in full, e.g. `docker.io/library/ubuntu:latest`. */
export function formatReference({ registry, repository, tag, digest }: Reference): string {
  return `${registry}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}

/** The tag a rebased image gets when none is asked for: `iot-<candidate tag>`, or of an untagged one `iot-<12 hex>`. */
export function defaultTargetTag(candidate: Reference): string {
  return `iot-${candidate.tag ?? (candidate.digest ?? "").replace(/^sha\d+:/, "").slice(0, 12)}`.slice(0, 128);
}
