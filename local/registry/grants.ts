// Who may do what to which repository, and the scope strings of the Docker token protocol that say so.

/** Actions on a repository, as in the scopes of Azure's registry. */
export type RepositoryAction = "pull" | "push" | "delete" | "metadata_read" | "metadata_write";

/** Every action, what `*` in a scope stands for. */
export const ALL_ACTIONS: readonly RepositoryAction[] = ["pull", "push", "delete", "metadata_read", "metadata_write"];

/** Actions allowed on one repository, on all below a path (`team/*`), or on all (`*`, which includes the catalog). */
export interface Grant {
  readonly repository: string;
  readonly actions: readonly RepositoryAction[];
}

/** A permission asked for: actions on a repository, or `*` on the registry's catalog. */
export interface Scope {
  readonly type: "repository" | "registry";
  readonly name: string;
  readonly actions: readonly string[];
}

/** Reads scopes such as `repository:team/app:pull,push registry:catalog:*`; what is not one is left out. */
export function parseScopes(text: string): Scope[] {
  return text.split(/\s+/).flatMap((part) => {
    const match = /^(repository|registry):([^\s:]+):([a-z_*,]+)$/.exec(part);
    if (match === null) return [];
    const [, type, name, list] = match as unknown as [string, Scope["type"], string, string];
    const actions = list.split(",").filter(Boolean);
    return [{ type, name, actions: type === "repository" && actions.includes("*") ? [...ALL_ACTIONS] : actions }];
  });
}

/** Writes a scope as challenges and tokens state it. */
export function formatScope({ type, name, actions }: Scope): string {
  return `${type}:${name}:${actions.join(",")}`;
}

function covers(pattern: string, repository: string): boolean {
  if (pattern === "*" || pattern === repository) return true;
  return pattern.endsWith("/*") && repository.startsWith(pattern.slice(0, -1));
}

/** The part of `scope` that `grants` allow. */
export function limitScope(scope: Scope, grants: readonly Grant[]): Scope {
  if (scope.type === "registry") {
    const isAllowed = grants.some((grant) => grant.repository === "*" && grant.actions.includes("metadata_read"));
    return { ...scope, actions: isAllowed ? scope.actions : [] };
  }
  const allowed = new Set<string>(
    grants.filter(({ repository }) => covers(repository, scope.name)).flatMap(({ actions }) => actions),
  );
  return { ...scope, actions: scope.actions.filter((action) => allowed.has(action)) };
}

/** Whether `held` scopes contain every action of `wanted`. */
export function holdsScope(held: readonly Scope[], wanted: Scope): boolean {
  return wanted.actions.every((action) =>
    held.some(({ type, name, actions }) => type === wanted.type && name === wanted.name && actions.includes(action)),
  );
}
