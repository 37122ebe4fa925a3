// Gets Bearer tokens from a registry's token server, whichever way its credentials allow.
import type { RegistryCredentials } from "./credentials.ts";
import { fail, failByAnswer, failByConnection, type Operation } from "./failure.ts";
import { isPrivate } from "./hosts.ts";
import { readUpTo, type Transport, type TransportRequest } from "./transport.ts";

/** A token and when it ends, in ms since the epoch. */
export interface Token {
  readonly text: string;
  readonly expiresAt: number;
}

/** Where a challenge says tokens are given. */
export interface TokenServer {
  readonly realm: URL;
  readonly service: string | undefined;
}

/** Gets tokens for one registry. */
export interface TokenSource {
  getToken(server: TokenServer, scopes: readonly string[]): Promise<Token>;
}

/** What a token source is built from; `base` is the registry's own URL. */
export interface TokenSourceOptions {
  readonly base: URL;
  readonly credentials: RegistryCredentials | undefined;
  readonly transport: Transport;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

const MAX_ANSWER_BYTES = 1024 * 1024;
/** How long a token lasts whose answer does not say (distribution spec, token authentication). */
const DEFAULT_LIFETIME_MS = 60_000;
/** A token is renewed this long before its end. */
export const RENEWAL_MARGIN_MS = 30_000;

/**
 * Creates the token source for one registry's credentials.
 *
 * Anonymous and Basic: GET on the realm, by POST where the server has no GET. Refresh tokens: POST `/oauth2/token`
 * (Docker's OAuth2 and ACR's exchange are the same request). Entra: POST `/oauth2/exchange` at the registry first.
 */
export function createTokenSource({ base, credentials, transport, now }: TokenSourceOptions): TokenSource {
  const operation: Operation = { operation: "get token of", subject: base.host, notFound: "UNAUTHORIZED" };
  let acrRefreshToken: Token | undefined;

  const ask = async (request: TransportRequest): Promise<{ status: number; text: string }> => {
    if (!isPrivate(request.url)) {
      throw fail("UNAUTHORIZED", operation, { got: `a token server at ${request.url.origin}`, want: "https" });
    }
    // The session repeats the whole request, and this one with it, after a failure that may pass.
    const response = await transport.send(request).catch((error: unknown) => {
      throw failByConnection(operation, error);
    });
    const text = (await readUpTo(response, MAX_ANSWER_BYTES))?.toString() ?? "";
    if (response.status < 500 && response.status !== 429) return { status: response.status, text };
    throw failByAnswer(operation, { status: response.status, text: "" });
  };
  const post = (url: URL, form: Record<string, string | undefined>): ReturnType<typeof ask> => {
    const fields = Object.entries(form).filter((entry): entry is [string, string] => entry[1] !== undefined);
    return ask({
      method: "POST",
      url,
      headers: { "content-type": "application/x-www-form-urlencoded", accept: "application/json" },
      body: Buffer.from(new URLSearchParams(fields).toString()),
    });
  };
  const read = ({ status, text }: { status: number; text: string }, ...names: string[]): Token => {
    if (status === 400 || status === 401 || status === 403 || status === 404) {
      throw fail("UNAUTHORIZED", operation, { got: `status ${status} of the token server` });
    }
    if (status !== 200) throw fail("UNEXPECTED_RESPONSE", operation, { got: `status ${status} of the token server` });
    const answer = parseObject(text);
    const token = names.map((name) => answer[name]).find((value) => typeof value === "string" && value !== "");
    // The text stays out of the error: it may hold a token.
    if (typeof token !== "string") {
      throw fail("UNEXPECTED_RESPONSE", operation, { got: "an answer without a token", want: names.join(" or ") });
    }
    return { text: token, expiresAt: expiryOf(token, answer["expires_in"], now()) };
  };

  const exchangeEntra = async (getEntraToken: () => Promise<string>, service: string): Promise<string> => {
    if (acrRefreshToken === undefined || acrRefreshToken.expiresAt - RENEWAL_MARGIN_MS <= now()) {
      const form = { grant_type: "access_token", service, access_token: await getEntraToken() };
      acrRefreshToken = read(await post(new URL("/oauth2/exchange", base), form), "refresh_token");
    }
    return acrRefreshToken.text;
  };
  const requireOwnHost = (realm: URL): void => {
    if (realm.host === base.host) return;
    throw fail("UNAUTHORIZED", operation, { got: `a token server at ${realm.host}`, want: base.host });
  };

  return {
    async getToken({ realm, service }, scopes) {
      const scope = scopes.length === 0 ? undefined : scopes.join(" ");
      if (credentials?.type === "refresh-token" || credentials?.type === "entra") {
        if (credentials.type === "entra") requireOwnHost(realm);
        const refreshToken =
          credentials.type === "entra"
            ? await exchangeEntra(credentials.getToken, service ?? base.host)
            : credentials.token;
        const form = { grant_type: "refresh_token", service, scope, client_id: "lighter", refresh_token: refreshToken };
        return read(await post(realm, form), "access_token", "token");
      }
      const url = new URL(realm);
      if (service !== undefined) url.searchParams.set("service", service);
      for (const each of scopes) url.searchParams.append("scope", each);
      if (credentials !== undefined) url.searchParams.set("account", credentials.username);
      const headers = { accept: "application/json", ...basicHeader(credentials) };
      const answer = await ask({ method: "GET", url, headers });
      if ((answer.status !== 404 && answer.status !== 405) || credentials === undefined) {
        return read(answer, "token", "access_token");
      }
      const { username, password } = credentials;
      const form = { grant_type: "password", service, scope, client_id: "lighter", username, password };
      return read(await post(realm, form), "access_token", "token");
    },
  };
}

/** The Authorization header of Basic credentials, as an object to be spread; empty for others. */
export function basicHeader(credentials: RegistryCredentials | undefined): { authorization?: string } {
  if (credentials?.type !== "basic") return {};
  const { username, password } = credentials;
  return { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}` };
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value = JSON.parse(text) as unknown;
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** ACR's answers carry no lifetime, but its tokens are JWTs with an `exp` in seconds. */
function expiryOf(token: string, expiresIn: unknown, now: number): number {
  if (typeof expiresIn === "number" && expiresIn > 0) return now + expiresIn * 1_000;
  const { exp } = parseObject(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
  return typeof exp === "number" ? exp * 1_000 : now + DEFAULT_LIFETIME_MS;
}
