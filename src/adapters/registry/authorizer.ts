// Keeps what one registry has taught us about authorization: its scheme, the scopes it wants and the tokens it gave.
import { mergeScopes, parseChallenges } from "./challenge.ts";
import type { RegistryCredentials } from "./credentials.ts";
import { resolveUrl } from "./hosts.ts";
import { basicHeader, RENEWAL_MARGIN_MS, type Token, type TokenServer, type TokenSource } from "./tokens.ts";

/** Gives Authorization headers for one registry. */
export interface Authorizer {
  /** The header for requests that need `scopes`; empty while the registry has not asked for one. */
  authorize(scopes: readonly string[]): Promise<{ authorization?: string }>;
  /** Learns from a 401's WWW-Authenticate and the Authorization that was refused; false when a repetition is no use. */
  learn(challenge: string | undefined, scopes: readonly string[], refused: string | undefined): boolean;
}

/** What an authorizer is built from; `now` is in ms since the epoch. */
export interface AuthorizerOptions {
  readonly base: URL;
  readonly credentials: RegistryCredentials | undefined;
  readonly tokens: TokenSource;
  readonly now: () => number;
}

type Scheme = { readonly type: "basic" } | ({ readonly type: "bearer" } & TokenServer);

/** Creates the authorizer of one registry. Requests that need the same scopes at the same time share one token. */
export function createAuthorizer({ base, credentials, tokens, now }: AuthorizerOptions): Authorizer {
  let scheme: Scheme | undefined;
  const demanded = new Map<string, readonly string[]>();
  const cache = new Map<string, Token>();
  const pending = new Map<string, Promise<Token>>();

  const scopesFor = (scopes: readonly string[]): string[] =>
    mergeScopes([...scopes, ...(demanded.get(mergeScopes(scopes).join(" ")) ?? [])]);

  const getToken = async (server: TokenServer, scopes: readonly string[]): Promise<string> => {
    const key = scopes.join(" ");
    const cached = cache.get(key);
    if (cached !== undefined && cached.expiresAt - RENEWAL_MARGIN_MS > now()) return cached.text;
    let request = pending.get(key);
    if (request === undefined) {
      request = tokens.getToken(server, scopes).finally(() => pending.delete(key));
      pending.set(key, request);
    }
    const token = await request;
    cache.set(key, token);
    return token.text;
  };

  return {
    async authorize(scopes) {
      if (scheme === undefined) return {};
      if (scheme.type === "basic") return basicHeader(credentials);
      return { authorization: `Bearer ${await getToken(scheme, scopesFor(scopes))}` };
    },
    learn(header, scopes, refused) {
      const challenges = parseChallenges(header ?? "");
      const bearer = challenges.find((challenge) => challenge.scheme === "bearer");
      const realm = resolveUrl(bearer?.parameters["realm"] ?? "", base);
      if (bearer?.parameters["realm"] !== undefined && realm !== undefined) {
        const { service, scope } = bearer.parameters;
        scheme = { type: "bearer", realm, service };
        const key = scopesFor(scopes).join(" ");
        // Others may have got a new token since this request was sent.
        if (refused === `Bearer ${cache.get(key)?.text}`) cache.delete(key);
        if (scope !== undefined)
          demanded.set(mergeScopes(scopes).join(" "), mergeScopes([...scopesFor(scopes), scope]));
        return true;
      }
      if (!challenges.some((challenge) => challenge.scheme === "basic")) return false;
      scheme = { type: "basic" };
      const { authorization } = basicHeader(credentials);
      return authorization !== undefined && authorization !== refused;
    },
  };
}
