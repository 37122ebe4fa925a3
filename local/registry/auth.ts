// Authentication: anonymous, Basic, or the Bearer token protocol of Azure's registry (Docker token spec + /oauth2).
import { randomBytes, randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { ALL_ACTIONS, formatScope, type Grant, holdsScope, limitScope, type Scope } from "./grants.ts";
import { refuse } from "./refusal.ts";
import { type Claims, signToken, verifyToken } from "./tokens.ts";

/** A user name and password, e.g. an admin user, or an ACR token with its scope map; without grants all is allowed. */
interface RegistryUser {
  readonly name: string;
  readonly password: string;
  readonly grants?: readonly Grant[];
}
/** An Entra identity, known by the access token that its credential hands out; without grants all is allowed. */
interface RegistryIdentity {
  readonly name: string;
  readonly accessToken: string;
  readonly grants?: readonly Grant[];
}

/** How clients prove who they are. */
export interface AuthOptions {
  /** `bearer` is what Azure's registry does (it takes Basic too); `basic` is a plain password file. */
  readonly challenge: "basic" | "bearer";
  readonly users?: readonly RegistryUser[];
  readonly identities?: readonly RegistryIdentity[];
  /** Lets anybody read everything; with `bearer` by a token that anybody gets, as on Azure's registry. */
  readonly anonymousPull?: boolean;
  /** Defaults: three hours and 75 minutes, as Azure's registry grants. */
  readonly refreshTokenMs?: number;
  readonly accessTokenMs?: number;
  /** Time for token lifetimes; the wall clock by default, because clients judge `exp` by theirs. */
  readonly now?: () => number;
}

/** Somebody who has been recognised. */
export interface Principal {
  readonly name: string;
  /** What this principal may do at most. */
  readonly grants: readonly Grant[];
  /** Set for an access token: only these scopes, whatever the grants. */
  readonly scopes?: readonly Scope[];
}

/** Decides about requests and issues tokens; `service` is the registry's login server. */
export interface Auth {
  /** Who sends the request: undefined when it carries no credentials, "unknown" when they are wrong. */
  identify(request: IncomingMessage): Principal | "unknown" | undefined;
  /** Refuses with UNAUTHORIZED (and a challenge) or DENIED unless `who` may do `scope`. */
  authorize(who: Principal | "unknown" | undefined, scope: Scope | undefined, realmHost: string): void;
  permits(who: Principal | "unknown" | undefined, scope: Scope): boolean;
  /** An identity by its Entra access token. */
  findIdentity(accessToken: string): Principal | undefined;
  findUser(name: string, password: string): Principal | undefined;
  readRefreshToken(token: string): Principal | undefined;
  issueRefreshToken(principal: Principal): string;
  /** An access token for as much of `scopes` as the principal may do. */
  issueAccessToken(principal: Principal, scopes: readonly Scope[]): string;
  /** Who gets a token without credentials; undefined when nobody does. */
  readonly anonymous: Principal | undefined;
}

/** The user name that marks a password as a refresh token, in Azure's registry. */
const TOKEN_USER = "00000000-0000-0000-0000-000000000000";
const EVERYTHING: readonly Grant[] = [{ repository: "*", actions: ALL_ACTIONS }];
const READING: readonly Grant[] = [{ repository: "*", actions: ["pull", "metadata_read"] }];

/** Creates the decisions for `options`; without them everybody may do everything. */
export function createAuth(options: AuthOptions | undefined, service: string): Auth {
  const key = randomBytes(32);
  const now = options?.now ?? Date.now;
  const anonymousGrants = options === undefined ? EVERYTHING : options.anonymousPull === true ? READING : undefined;
  const anonymous: Principal | undefined =
    anonymousGrants === undefined ? undefined : { name: "anonymous", grants: anonymousGrants };
  /** Who a request without credentials is from: with Bearer nobody, until it comes with a token. */
  const stranger = options?.challenge === "bearer" ? undefined : anonymous;

  const issue = (
    principal: Principal,
    lifetimeMs: number,
    more: Pick<Claims, "grant_type" | "grants" | "access">,
  ): string => {
    const seconds = Math.floor(now() / 1000);
    const exp = Math.floor((now() + lifetimeMs) / 1000);
    const base = { jti: randomUUID(), sub: principal.name, iss: "Azure Container Registry", aud: service };
    return signToken({ ...base, nbf: seconds, iat: seconds, exp, ...more }, key);
  };
  const findUser = (name: string, password: string): Principal | undefined => {
    if (name === TOKEN_USER) return readRefreshToken(password);
    const user = options?.users?.find((known) => known.name === name && known.password === password);
    return user === undefined ? undefined : { name: user.name, grants: user.grants ?? EVERYTHING };
  };
  const readRefreshToken = (token: string): Principal | undefined => {
    const claims = verifyToken(token, key, now());
    if (claims?.grant_type !== "refresh_token") return undefined;
    return { name: claims.sub, grants: claims.grants ?? [] };
  };
  const permits: Auth["permits"] = (who, scope) => {
    const principal = who ?? stranger;
    if (principal === undefined || principal === "unknown") return false;
    if (principal.scopes !== undefined) return holdsScope(principal.scopes, scope);
    return holdsScope([limitScope(scope, principal.grants)], scope);
  };
  const challengeFor = (scope: Scope | undefined, host: string, error: string | undefined): string => {
    if (options?.challenge === "basic") return `Basic realm="${service}"`;
    const parts = [`realm="http://${host}/oauth2/token"`, `service="${service}"`];
    if (scope !== undefined) parts.push(`scope="${formatScope(scope)}"`);
    if (error !== undefined) parts.push(`error="${error}"`);
    return `Bearer ${parts.join(",")}`;
  };

  return {
    anonymous,
    permits,
    findUser,
    readRefreshToken,
    identify(request) {
      const [scheme = "", value = ""] = (request.headers.authorization ?? "").split(/ +/);
      if (options === undefined || scheme === "") return undefined;
      if (scheme.toLowerCase() === "basic") {
        const text = Buffer.from(value, "base64").toString();
        const colon = text.indexOf(":");
        return findUser(text.slice(0, Math.max(0, colon)), text.slice(colon + 1)) ?? "unknown";
      }
      const claims = options.challenge === "bearer" ? verifyToken(value, key, now()) : undefined;
      if (claims?.grant_type !== "access_token") return "unknown";
      return { name: claims.sub, grants: [], scopes: claims.access ?? [] };
    },
    authorize(who, scope, realmHost) {
      const isKnown = who !== undefined && who !== "unknown";
      if (scope === undefined ? isKnown || (who === undefined && stranger !== undefined) : permits(who, scope)) return;
      const subject = scope === undefined ? service : formatScope(scope);
      if (isKnown && who.scopes === undefined) refuse("DENIED", { operation: "authorize", subject, got: who.name });
      const error = who === "unknown" ? "invalid_token" : isKnown ? "insufficient_scope" : undefined;
      refuse("UNAUTHORIZED", {
        operation: "authorize",
        subject,
        want: "authentication",
        headers: { "WWW-Authenticate": challengeFor(scope, realmHost, error) },
        ...(scope === undefined
          ? {}
          : { detail: scope.actions.map((Action) => ({ Type: scope.type, Name: scope.name, Action })) }),
      });
    },
    findIdentity(accessToken) {
      const identity = options?.identities?.find((known) => known.accessToken === accessToken);
      return identity === undefined ? undefined : { name: identity.name, grants: identity.grants ?? EVERYTHING };
    },
    issueRefreshToken: (principal) =>
      issue(principal, options?.refreshTokenMs ?? 3 * 60 * 60_000, {
        grant_type: "refresh_token",
        grants: principal.grants,
      }),
    issueAccessToken: (principal, scopes) =>
      issue(principal, options?.accessTokenMs ?? 75 * 60_000, {
        grant_type: "access_token",
        access: scopes.map((scope) => limitScope(scope, principal.grants)).filter(({ actions }) => actions.length > 0),
      }),
  };
}
