// The metadata calls of Azure's registry, `/acr/v1/…`, in the shapes that its SDK reads.
import { z } from "zod";
import { type Call, readBody, refuseMethod } from "./call.ts";
import type { Locks, ManifestRecord, RepositoryRecord, TagRecord } from "./catalog.ts";
import { deleteManifest, type ManifestParts, refuseLocked } from "./handle-manifests.ts";
import { takePage } from "./paging.ts";
import { refuse } from "./refusal.ts";
import { type Reply, replyJson } from "./reply.ts";

const MAX_BODY_BYTES = 64 * 1024;
const locksSchema = z.strictObject({
  deleteEnabled: z.boolean().optional(),
  writeEnabled: z.boolean().optional(),
  listEnabled: z.boolean().optional(),
  readEnabled: z.boolean().optional(),
});

/** What these handlers work on; `service` is the registry's login server. */
export interface AcrParts extends ManifestParts {
  readonly service: string;
}

const stampsOf = (item: { created: number; updated: number; locks: Locks }): object => ({
  createdTime: new Date(item.created).toISOString(),
  lastUpdateTime: new Date(item.updated).toISOString(),
  changeableAttributes: item.locks,
});

async function readLocks(call: Call): Promise<Partial<Locks>> {
  try {
    return locksSchema.parse(JSON.parse((await readBody(call.request, MAX_BODY_BYTES)).toString())) as Partial<Locks>;
  } catch (cause) {
    return refuse("UNSUPPORTED", {
      operation: "update",
      subject: call.path,
      got: "a body that is not changeable attributes",
      status: 400,
      cause,
    });
  }
}

function findRepository({ catalog }: AcrParts, name: string): RepositoryRecord {
  return (
    catalog.repository(name) ??
    refuse("NAME_UNKNOWN", { operation: "read repository", subject: name, detail: { name } })
  );
}
function findManifest({ catalog }: AcrParts, name: string, digest: string): ManifestRecord {
  return (
    catalog.manifest(name, digest) ??
    refuse("MANIFEST_UNKNOWN", { operation: "read manifest", subject: `${name}@${digest}`, detail: { name, digest } })
  );
}
function findTag({ catalog }: AcrParts, name: string, tag: string): TagRecord {
  return (
    catalog.tag(name, tag) ??
    refuse("TAG_UNKNOWN", { operation: "read tag", subject: `${name}:${tag}`, detail: { name, tag } })
  );
}

/** `GET|PATCH|DELETE /acr/v1/<name>`. */
export async function handleAcrRepository(call: Call, parts: AcrParts, name: string): Promise<Reply> {
  const { catalog, blobs, service, notify } = parts;
  const repository = findRepository(parts, name);
  if (call.method === "DELETE") {
    refuseLocked(repository.locks.deleteEnabled, "delete repository", name);
    const manifests = catalog.manifests(name, { limit: -1, last: "" });
    const held = catalog.deleteRepository(name);
    for (const digest of [...held.manifests, ...held.blobs]) blobs.release(digest);
    for (const { digest, facts } of manifests) {
      notify(call, { action: "delete", mediaType: facts.mediaType, digest, repository: name });
    }
    return replyJson({ manifestsDeleted: held.manifests, tagsDeleted: held.tags }, {}, 202);
  }
  if (call.method === "PATCH") catalog.setLocks("repositories", name, name, await readLocks(call));
  else if (call.method !== "GET") refuseMethod(call, "GET", "PATCH", "DELETE");
  const { manifests, tags } = catalog.counts(name);
  return replyJson({
    registry: service,
    imageName: name,
    ...stampsOf(findRepository(parts, name)),
    manifestCount: manifests,
    tagCount: tags,
  });
}

const describeTag = (tag: TagRecord): object => ({
  name: tag.name,
  digest: tag.digest,
  signed: false,
  ...stampsOf(tag),
});

/** `GET /acr/v1/<name>/_tags`, optionally of one `digest`, by name or `orderby` timeasc/timedesc. */
export function listAcrTags(call: Call, parts: AcrParts, name: string): Reply {
  if (call.method !== "GET") refuseMethod(call, "GET");
  findRepository(parts, name);
  const digest = call.query.get("digest") ?? undefined;
  const { items, headers } = takePage(
    `/acr/v1/${name}/_tags`,
    call.query,
    (page) => parts.catalog.tags(name, page, digest),
    (tag) => tag.name,
  );
  return replyJson({ registry: parts.service, imageName: name, tags: items.map(describeTag) }, headers);
}

/** `GET|PATCH|DELETE /acr/v1/<name>/_tags/<tag>`. */
export async function handleAcrTag(call: Call, parts: AcrParts, name: string, tag: string): Promise<Reply> {
  findTag(parts, name, tag);
  if (call.method === "DELETE") return deleteManifest(call, parts, name, tag);
  if (call.method === "PATCH") parts.catalog.setLocks("tags", name, tag, await readLocks(call));
  else if (call.method !== "GET") refuseMethod(call, "GET", "PATCH", "DELETE");
  return replyJson({ registry: parts.service, imageName: name, tag: describeTag(findTag(parts, name, tag)) });
}

function describeManifest({ catalog }: AcrParts, manifest: ManifestRecord): object {
  const { repository, digest, facts } = manifest;
  const tags = catalog.tags(repository, { limit: -1, last: "" }, digest).map(({ name }) => name);
  return {
    digest,
    imageSize: facts.imageSize,
    mediaType: facts.mediaType,
    ...stampsOf(manifest),
    ...(facts.architecture === undefined ? {} : { architecture: facts.architecture }),
    ...(facts.os === undefined ? {} : { os: facts.os }),
    ...(facts.entries.length === 0 ? {} : { references: facts.entries }),
    ...(tags.length === 0 ? {} : { tags }),
  };
}

/** `GET /acr/v1/<name>/_manifests`, by digest or `orderby` timeasc/timedesc. */
export function listAcrManifests(call: Call, parts: AcrParts, name: string): Reply {
  if (call.method !== "GET") refuseMethod(call, "GET");
  findRepository(parts, name);
  const { items, headers } = takePage(
    `/acr/v1/${name}/_manifests`,
    call.query,
    (page) => parts.catalog.manifests(name, page),
    ({ digest }) => digest,
  );
  const manifests = items.map((manifest) => describeManifest(parts, manifest));
  return replyJson({ registry: parts.service, imageName: name, manifests }, headers);
}

/** `GET|PATCH|DELETE /acr/v1/<name>/_manifests/<digest>`. */
export async function handleAcrManifest(call: Call, parts: AcrParts, name: string, digest: string): Promise<Reply> {
  findManifest(parts, name, digest);
  if (call.method === "DELETE") return deleteManifest(call, parts, name, digest);
  if (call.method === "PATCH") parts.catalog.setLocks("manifests", name, digest, await readLocks(call));
  else if (call.method !== "GET") refuseMethod(call, "GET", "PATCH", "DELETE");
  const manifest = describeManifest(parts, findManifest(parts, name, digest));
  return replyJson({ registry: parts.service, imageName: name, manifest });
}
