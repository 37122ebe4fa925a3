// Reads WWW-Authenticate challenges (RFC 9110 §11.6.1) and merges token scopes (distribution spec, token scope).

/** One challenge, e.g. scheme `bearer` with parameters realm, service and scope; names in lower case. */
export interface Challenge {
  readonly scheme: string;
  readonly parameters: Readonly<Record<string, string>>;
}

const TOKEN = /[A-Za-z0-9!#$%&'*+.^_`|~-]+/y;
const PARAMETER = /\s*([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/y;
const SEPARATOR = /[\s,]*/y;

/** The challenges of a header that may hold several; what cannot be read ends the list. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = [];
  let position = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = position;
    const match = pattern.exec(header);
    if (match !== null) position = pattern.lastIndex;
    return match;
  };
  for (take(SEPARATOR); position < header.length; take(SEPARATOR)) {
    const scheme = take(TOKEN)?.[0].toLowerCase();
    if (scheme === undefined) break;
    const parameters: Record<string, string> = {};
    for (;;) {
      const parameter = take(PARAMETER);
      if (parameter === null) break;
      const [, name = "", quoted, bare = ""] = parameter;
      parameters[name.toLowerCase()] = quoted === undefined ? bare : quoted.replaceAll(/\\(.)/g, "$1");
      if (take(/\s*,(?=\s*[^\s,]+\s*=)/y) === null) break;
    }
    challenges.push({ scheme, parameters });
  }
  return challenges;
}

/** Merges scopes such as `repository:team/app:pull`: one per resource with all its actions, in a stable order. */
export function mergeScopes(scopes: readonly string[]): string[] {
  const actionsByResource = new Map<string, Set<string>>();
  for (const scope of scopes.flatMap((text) => text.split(/\s+/)).filter(Boolean)) {
    const colon = scope.lastIndexOf(":");
    const resource = scope.slice(0, Math.max(0, colon));
    const actions = actionsByResource.get(resource) ?? new Set();
    for (const action of scope.slice(colon + 1).split(",")) actions.add(action);
    actionsByResource.set(resource, actions);
  }
  return [...actionsByResource].map(([resource, actions]) => `${resource}:${[...actions].sort().join(",")}`).sort();
}
