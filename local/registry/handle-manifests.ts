// Manifests, tags and referrers (OCI distribution-spec 1.1, "Pulling manifests", "Pushing manifests", "Listing referrers").
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { z } from "zod";
import type { BlobStore } from "./blob-store.ts";
import { type Call, readBody, refuseMethod } from "./call.ts";
import type { Catalog, ManifestRecord } from "./catalog.ts";
import type { Notify } from "./events.ts";
import { checkManifest, MAX_MANIFEST_BYTES, type ManifestFacts } from "./manifest-check.ts";
import { isDigest, splitDigest } from "./names.ts";
import { takePage } from "./paging.ts";
import type { ReplicaLag } from "./read-limits.ts";
import { refuse } from "./refusal.ts";
import { type Reply, replyJson } from "./reply.ts";

/** What manifest handlers work on. */
export interface ManifestParts {
  readonly blobs: BlobStore;
  readonly catalog: Catalog;
  readonly lag: ReplicaLag;
  readonly notify: Notify;
}

const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";
const MAX_CONFIG_BYTES = 4 * 1024 * 1024;
const platformSchema = z.looseObject({ os: z.string(), architecture: z.string() });

/** Refuses what a lock forbids, as Azure's registry does: 405 UNSUPPORTED. */
export function refuseLocked(isAllowed: boolean, operation: string, subject: string): void {
  if (isAllowed) return;
  refuse("UNSUPPORTED", { operation, subject, got: "disallowed on this registry, repository or image" });
}

/** Whether an Accept header lets a client have `mediaType`; a client that sends none takes what there is. */
function accepts(header: string | undefined, mediaType: string): boolean {
  if (header === undefined || header.trim() === "") return true;
  return header
    .split(",")
    .map((part) => part.split(";")[0]?.trim().toLowerCase())
    .some((type) => type === mediaType || type === "*/*" || type === "application/*");
}

function readManifest(call: Call, parts: ManifestParts, name: string, reference: string): Reply {
  const { catalog, blobs, lag } = parts;
  const subject = isDigest(reference) ? `${name}@${reference}` : `${name}:${reference}`;
  const tag = isDigest(reference) ? undefined : catalog.tag(name, reference);
  const known = isDigest(reference) ? catalog.manifest(name, reference)?.digest : tag?.digest;
  const digest = lag.seen(name, reference, known);
  const manifest = digest === undefined ? undefined : catalog.manifest(name, digest);
  if (manifest === undefined) {
    return refuse("MANIFEST_UNKNOWN", { operation: "read manifest", subject, detail: { name, reference } });
  }
  const locks = [catalog.repository(name)?.locks, tag?.locks, manifest.locks];
  refuseLocked(!locks.some((lock) => lock?.readEnabled === false), "read manifest", subject);
  const { mediaType } = manifest.facts;
  if (!accepts(call.request.headers.accept, mediaType)) {
    refuse("MANIFEST_UNKNOWN", {
      operation: "read manifest",
      subject,
      got: mediaType,
      want: `one of Accept: ${call.request.headers.accept ?? ""}`,
    });
  }
  return {
    status: 200,
    headers: { "Content-Type": mediaType, "Docker-Content-Digest": manifest.digest, ETag: `"${manifest.digest}"` },
    body: blobs.readManifest(manifest.digest),
  };
}

/** The platform in an image's config, which listings show; nothing when the config is not an image's. */
function platformOf(
  blobs: BlobStore,
  name: string,
  config: string | undefined,
): { os?: string; architecture?: string } {
  const found = config === undefined ? undefined : blobs.find(name, config);
  if (found === undefined || found.size > MAX_CONFIG_BYTES) return {};
  try {
    const parsed = platformSchema.safeParse(JSON.parse(readFileSync(found.path, "utf8")));
    return parsed.success ? { os: parsed.data.os, architecture: parsed.data.architecture } : {};
  } catch {
    return {};
  }
}

function checkReferences(parts: ManifestParts, name: string, facts: ManifestFacts): void {
  const missing = [
    ...facts.blobs.filter((digest) => parts.blobs.find(name, digest) === undefined),
    ...facts.entries.map(({ digest }) => digest).filter((digest) => parts.catalog.manifest(name, digest) === undefined),
  ];
  if (missing.length === 0) return;
  refuse("MANIFEST_BLOB_UNKNOWN", {
    operation: "push manifest",
    subject: name,
    got: `references to unknown content ${missing.join(", ")}`,
    detail: missing.map((digest) => ({ digest })),
  });
}

async function pushManifest(call: Call, parts: ManifestParts, name: string, reference: string): Promise<Reply> {
  const { catalog, blobs, lag, notify } = parts;
  const bytes = await readBody(call.request, MAX_MANIFEST_BYTES);
  const facts = checkManifest(bytes, call.request.headers["content-type"] ?? "", name);
  const algorithm = isDigest(reference) ? splitDigest(reference).algorithm : "sha256";
  const digest = `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
  if (isDigest(reference) && reference !== digest) {
    refuse("DIGEST_INVALID", { operation: "push manifest", subject: name, got: digest, want: reference });
  }
  checkReferences(parts, name, facts);
  const tag = isDigest(reference) ? undefined : reference;
  const previous = tag === undefined ? undefined : catalog.tag(name, tag);
  const known = catalog.manifest(name, digest);
  const locks = [catalog.repository(name)?.locks, previous?.locks, known?.locks];
  refuseLocked(!locks.some((lock) => lock?.writeEnabled === false), "push manifest", `${name} ${reference}`);

  blobs.writeManifest(digest, bytes);
  const full = { ...facts, ...platformOf(blobs, name, facts.config) };
  catalog.putManifest({ repository: name, digest, size: bytes.length, facts: full }, tag);
  // What was there already has nothing to replicate.
  if (known === undefined) lag.pushed(name, digest, undefined);
  if (tag !== undefined && previous?.digest !== digest) lag.pushed(name, tag, previous?.digest);
  notify(call, {
    action: "push",
    mediaType: facts.mediaType,
    size: bytes.length,
    digest,
    repository: name,
    ...(tag === undefined ? {} : { tag }),
  });
  return {
    status: 201,
    headers: {
      Location: `/v2/${name}/manifests/${digest}`,
      "Docker-Content-Digest": digest,
      ...(facts.subject === undefined ? {} : { "OCI-Subject": facts.subject }),
    },
  };
}

/** Deletes a manifest with its tags, or one tag only; refuses what is unknown or locked. */
export function deleteManifest(call: Call, parts: ManifestParts, name: string, reference: string): Reply {
  const { catalog, blobs, notify } = parts;
  const operation = "delete manifest";
  const repository = catalog.repository(name)?.locks.deleteEnabled !== false;
  if (!isDigest(reference)) {
    const tag = catalog.tag(name, reference);
    if (tag === undefined) return refuse("MANIFEST_UNKNOWN", { operation, subject: `${name}:${reference}` });
    refuseLocked(repository && tag.locks.deleteEnabled, "delete tag", `${name}:${reference}`);
    catalog.deleteTag(name, reference);
    return { status: 202 };
  }
  const manifest = catalog.manifest(name, reference);
  if (manifest === undefined) return refuse("MANIFEST_UNKNOWN", { operation, subject: `${name}@${reference}` });
  refuseLocked(repository && manifest.locks.deleteEnabled, operation, `${name}@${reference}`);
  catalog.deleteManifest(name, reference);
  blobs.release(reference);
  notify(call, { action: "delete", mediaType: manifest.facts.mediaType, digest: reference, repository: name });
  return { status: 202 };
}

/** `GET|HEAD|PUT|DELETE /v2/<name>/manifests/<reference>`. */
export async function handleManifest(
  call: Call,
  parts: ManifestParts,
  name: string,
  reference: string,
): Promise<Reply> {
  switch (call.method) {
    case "GET":
    case "HEAD":
      return readManifest(call, parts, name, reference);
    case "PUT":
      return await pushManifest(call, parts, name, reference);
    case "DELETE":
      return deleteManifest(call, parts, name, reference);
    default:
      return refuseMethod(call, "GET", "HEAD", "PUT", "DELETE");
  }
}

function describe({ digest, size, facts }: ManifestRecord): unknown {
  const { mediaType, artifactType, annotations } = facts;
  return {
    mediaType,
    digest,
    size,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

/** `GET /v2/<name>/referrers/<digest>`: an index of the manifests whose subject is `digest`, filtered by artifactType. */
export function listReferrers(call: Call, parts: ManifestParts, name: string, digest: string): Reply {
  if (call.method !== "GET") refuseMethod(call, "GET");
  const wanted = call.query.get("artifactType");
  const manifests = parts.catalog
    .referrers(name, digest)
    .filter(({ facts }) => wanted === null || facts.artifactType === wanted)
    .map(describe);
  return replyJson(
    { schemaVersion: 2, mediaType: INDEX_TYPE, manifests },
    { "Content-Type": INDEX_TYPE, ...(wanted === null ? {} : { "OCI-Filters-Applied": "artifactType" }) },
  );
}

/** `GET /v2/<name>/tags/list`. */
export function listTags(call: Call, { catalog }: ManifestParts, name: string): Reply {
  if (call.method !== "GET") refuseMethod(call, "GET");
  if (catalog.repository(name) === undefined) {
    refuse("NAME_UNKNOWN", { operation: "list tags", subject: name, detail: { name } });
  }
  const list = (page: Parameters<Catalog["tags"]>[1]): string[] => catalog.tags(name, page).map((tag) => tag.name);
  const { items, headers } = takePage(`/v2/${name}/tags/list`, call.query, list, (tag) => tag);
  return replyJson({ name, tags: items }, headers);
}

/** `GET /v2/_catalog` and `GET /acr/v1/_catalog`: repository names. */
export function listRepositories(call: Call, { catalog }: Pick<ManifestParts, "catalog">): Reply {
  if (call.method !== "GET") refuseMethod(call, "GET");
  const list = (page: Parameters<Catalog["repositories"]>[0]): string[] =>
    catalog.repositories(page).map(({ name }) => name);
  const { items, headers } = takePage(call.path, call.query, list, (name) => name);
  return replyJson({ repositories: items }, headers);
}
