// Checks who calls: shared access signatures of the hub's policies, or bearer tokens.
import { createHmac, timingSafeEqual } from "node:crypto";
import { IotHubError } from "./iot-hub-error.ts";

/** Whom the hub lets in. */
export interface AccessOptions {
  /** The names that tokens may be made for, e.g. `127.0.0.1:8443`, and `127.0.0.1` without its port. */
  readonly hostNames: readonly string[];
  /** Base64 keys by policy name. */
  readonly policies: Readonly<Record<string, string>>;
  /** Accepts or refuses a bearer token; all are refused when left out. */
  readonly acceptBearer: ((token: string) => boolean) | undefined;
  /** Seconds since the epoch as the callers' SDK counts them: tokens are signed with wall time, not the stack's clock. */
  readonly nowSeconds: () => number;
}

const unauthorized = (text: string): IotHubError => new IotHubError(401, "IotHubUnauthorizedAccess", text);

/** The fields of a token as written, without decoding: the signature covers `sr` as it stands. */
function readFields(token: string): Map<string, string> {
  return new Map(
    token.split("&").map((field) => {
      const at = field.indexOf("=");
      return [field.slice(0, at), field.slice(at + 1)] as const;
    }),
  );
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function equal(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

function checkSignature(token: string, options: AccessOptions): void {
  const fields = readFields(token);
  const [resource, signature, expiry, policy] = ["sr", "sig", "se", "skn"].map((name) => fields.get(name) ?? "") as [
    string,
    string,
    string,
    string,
  ];
  const key = Object.hasOwn(options.policies, decode(policy)) ? options.policies[decode(policy)] : undefined;
  if (key === undefined) throw unauthorized(`Policy ${decode(policy)} does not exist`);
  const wanted = createHmac("sha256", Buffer.from(key, "base64")).update(`${resource}\n${expiry}`).digest();
  if (!equal(wanted, Buffer.from(decode(signature), "base64"))) throw unauthorized("Signature does not match");
  const host = decode(resource).split("/")[0]?.toLowerCase() ?? "";
  if (!options.hostNames.includes(host)) throw unauthorized(`Token is for ${host}, not for this hub`);
  if (!/^[0-9]+$/.test(expiry) || Number(expiry) <= options.nowSeconds()) throw unauthorized("Token has expired");
}

/** Throws IotHubUnauthorizedAccess unless the Authorization header allows the call. */
export function checkAccess(authorization: string | undefined, options: AccessOptions): void {
  const [, scheme, token] = /^(SharedAccessSignature|Bearer)\s+(\S+)$/.exec(authorization ?? "") ?? [];
  if (scheme === undefined || token === undefined) throw unauthorized("Authorization header missing");
  if (scheme === "SharedAccessSignature") return checkSignature(token, options);
  if (options.acceptBearer?.(token) !== true) throw unauthorized("Principal is not authorized");
}
