// The registry's own refresh and access tokens: JWTs signed with a key that only this registry knows (RFC 7519, HS256).
import { createHmac, timingSafeEqual } from "node:crypto";
import type { Grant, Scope } from "./grants.ts";

/** What a token states; times are in seconds since the epoch. A refresh token carries grants, an access token scopes. */
export interface Claims {
  readonly jti: string;
  readonly sub: string;
  readonly iss: string;
  readonly aud: string;
  readonly nbf: number;
  readonly iat: number;
  readonly exp: number;
  readonly grant_type: "refresh_token" | "access_token";
  readonly grants?: readonly Grant[];
  readonly access?: readonly Scope[];
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
const sign = (text: string, key: Uint8Array): Buffer => createHmac("sha256", key).update(text).digest();

/** Signs claims as a JWT. */
export function signToken(claims: Claims, key: Uint8Array): string {
  const text = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims)}`;
  return `${text}.${sign(text, key).toString("base64url")}`;
}

/** The claims of a token signed with `key` that has not expired at `nowMs`; undefined for anything else. */
export function verifyToken(token: string, key: Uint8Array, nowMs: number): Claims | undefined {
  const [header = "", payload = "", signature = ""] = token.split(".");
  const expected = sign(`${header}.${payload}`, key);
  const given = Buffer.from(signature, "base64url");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as Claims;
  return claims.exp * 1000 > nowMs ? claims : undefined;
}
