// Which request means what: paths of the OCI distribution spec and of ACR, and the permission each one needs.
import type { Scope } from "./grants.ts";
import { checkDigest, checkName, checkReference } from "./names.ts";
import { refuse } from "./refusal.ts";

/** What a path addresses; names, tags and digests in it are checked. */
export type Target =
  | { readonly kind: "base" | "catalog" | "acr-catalog" | "exchange" | "token" }
  | { readonly kind: "tags" | "uploads" | "acr-repository" | "acr-tags" | "acr-manifests"; readonly name: string }
  | { readonly kind: "manifest"; readonly name: string; readonly reference: string }
  | { readonly kind: "blob" | "referrers" | "acr-manifest"; readonly name: string; readonly digest: string }
  | { readonly kind: "upload"; readonly name: string; readonly id: string }
  | { readonly kind: "acr-tag"; readonly name: string; readonly tag: string };

type Build = (name: string, rest: string) => Target;

const FIXED: Readonly<Record<string, Target>> = {
  "/v2": { kind: "base" },
  "/v2/": { kind: "base" },
  "/v2/_catalog": { kind: "catalog" },
  "/acr/v1/_catalog": { kind: "acr-catalog" },
  "/oauth2/exchange": { kind: "exchange" },
  "/oauth2/token": { kind: "token" },
};

/** In order: the first that matches decides. */
const PATTERNS: readonly (readonly [RegExp, Build])[] = [
  [/^\/v2\/(.+)\/tags\/list$/, (name) => ({ kind: "tags", name })],
  [/^\/v2\/(.+)\/manifests\/([^/]+)$/, (name, rest) => ({ kind: "manifest", name, reference: checkReference(rest) })],
  [/^\/v2\/(.+)\/blobs\/uploads\/?$/, (name) => ({ kind: "uploads", name })],
  [/^\/v2\/(.+)\/blobs\/uploads\/([^/]+)$/, (name, id) => ({ kind: "upload", name, id })],
  [/^\/v2\/(.+)\/blobs\/([^/]+)$/, (name, rest) => ({ kind: "blob", name, digest: checkDigest(rest) })],
  [/^\/v2\/(.+)\/referrers\/([^/]+)$/, (name, rest) => ({ kind: "referrers", name, digest: checkDigest(rest) })],
  [/^\/acr\/v1\/(.+)\/_tags$/, (name) => ({ kind: "acr-tags", name })],
  [/^\/acr\/v1\/(.+)\/_tags\/([^/]+)$/, (name, rest) => ({ kind: "acr-tag", name, tag: checkReference(rest) })],
  [/^\/acr\/v1\/(.+)\/_manifests$/, (name) => ({ kind: "acr-manifests", name })],
  [
    /^\/acr\/v1\/(.+)\/_manifests\/([^/]+)$/,
    (name, rest) => ({ kind: "acr-manifest", name, digest: checkDigest(rest) }),
  ],
  [/^\/acr\/v1\/(.+)$/, (name) => ({ kind: "acr-repository", name })],
];

/** Reads a request path, also when the slashes of the repository name are sent as `%2F`; undefined for other paths. */
export function matchPath(path: string): Target | undefined {
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch (cause) {
    return refuse("NAME_INVALID", { operation: "read path", subject: path, got: "a broken % escape", cause });
  }
  if (Object.hasOwn(FIXED, decoded)) return FIXED[decoded];
  for (const [pattern, build] of PATTERNS) {
    const match = pattern.exec(decoded);
    if (match !== null) return build(checkName(match[1] ?? ""), match[2] ?? "");
  }
  return undefined;
}

/** Whether a request counts as a read operation for the limit per minute. */
export function isRead(method: string, target: Target): boolean {
  return (method === "GET" || method === "HEAD") && !["base", "token", "exchange", "upload"].includes(target.kind);
}

/** The permission a request needs; undefined when being somebody is enough (or nothing is needed at all). */
export function scopeOf(method: string, target: Target): Scope | undefined {
  const repository = (name: string, ...actions: Scope["actions"]): Scope => ({ type: "repository", name, actions });
  const isReading = method === "GET" || method === "HEAD";
  switch (target.kind) {
    case "catalog":
    case "acr-catalog":
      return { type: "registry", name: "catalog", actions: ["*"] };
    case "uploads":
    case "upload":
      return repository(target.name, "pull", "push");
    case "tags":
    case "referrers":
      return repository(target.name, "pull");
    case "manifest":
    case "blob":
      if (method === "DELETE") return repository(target.name, "delete");
      return isReading ? repository(target.name, "pull") : repository(target.name, "pull", "push");
    case "acr-repository":
    case "acr-tags":
    case "acr-tag":
    case "acr-manifests":
    case "acr-manifest":
      if (method === "DELETE") return repository(target.name, "delete");
      return repository(target.name, isReading ? "metadata_read" : "metadata_write");
    default:
      return undefined;
  }
}
