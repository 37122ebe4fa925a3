// A device's side of the OCI distribution protocol: manifests and blobs by GET, with Basic and Bearer credentials.
import { PullError } from "./pull-error.ts";
import type { ImageReference } from "./reference.ts";
import { ACCEPTED_MANIFESTS } from "./manifest.ts";

/** A user name and password for one registry host, as in `registryCredentials` of the desired properties. */
export interface RegistryCredential {
  readonly address: string;
  readonly username: string;
  readonly password: string;
}

/** How a device introduces itself to registries. */
export interface RegistryClientOptions {
  readonly userAgent: string;
  readonly credentials: () => readonly RegistryCredential[];
}

/** Reads from registries; bodies stream and are not checked here. */
export interface RegistryClient {
  getManifest(reference: ImageReference, tagOrDigest: string, signal: AbortSignal): Promise<Response>;
  getBlob(reference: ImageReference, digest: string, signal: AbortSignal): Promise<Response>;
}

const LOOPBACK = /^(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?$/;

/** The base URL of a registry: plain http on loopback, https elsewhere. */
function registryUrl(registry: string): string {
  return `${LOOPBACK.test(registry) ? "http" : "https"}://${registry}`;
}

/** The User-Agent by which a registry can tell the traffic of devices apart: its `client/…` token names the device. */
export function deviceUserAgent(deviceId: string): string {
  // A parenthesis would end the token.
  const label = encodeURIComponent(deviceId).replace(/[()]/g, (mark) => `%${mark.charCodeAt(0).toString(16)}`);
  return `lighter-edge-device/1 client/${label}`;
}

/** The parameters of a `WWW-Authenticate` challenge of one scheme (RFC 9110 §11.6.1), or undefined when it is not offered. */
function readChallenge(header: string, scheme: string): Record<string, string> | undefined {
  const start = new RegExp(`(?:^|,)\\s*${scheme}(?=\\s|$)`, "i").exec(header);
  if (start === null) return undefined;
  const parameters: Record<string, string> = {};
  for (const [, key, quoted, token] of header.slice(start.index).matchAll(/(\w+)=(?:"([^"]*)"|([^\s,]+))/g)) {
    parameters[(key as string).toLowerCase()] ??= quoted ?? token ?? "";
  }
  return parameters;
}

/** Creates a client; the credentials are asked for anew at every challenge, so that a rotated password is picked up. */
export function createRegistryClient({ userAgent, credentials }: RegistryClientOptions): RegistryClient {
  /** Authorization headers that worked, by `registry/repository`. */
  const authorizations = new Map<string, string>();

  async function send(url: string, headers: Record<string, string>, signal: AbortSignal): Promise<Response> {
    try {
      // `identity` keeps fetch from decoding a body whose bytes are what the digest is about.
      return await fetch(url, {
        headers: { "user-agent": userAgent, "accept-encoding": "identity", ...headers },
        signal,
      });
    } catch (error) {
      if (signal.aborted) throw error;
      const got = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
      throw new PullError("UNREACHABLE", { operation: "get", subject: url, got, retryable: true, cause: error });
    }
  }

  async function authorize(
    reference: ImageReference,
    challenge: string,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const credential = credentials().find(({ address }) => address.replace(/^https?:\/\//, "") === reference.registry);
    const basic =
      credential === undefined
        ? undefined
        : `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString("base64")}`;
    const bearer = readChallenge(challenge, "Bearer");
    if (bearer?.["realm"] === undefined) return basic;
    const url = new URL(bearer["realm"], registryUrl(reference.registry));
    if (bearer["service"] !== undefined) url.searchParams.set("service", bearer["service"]);
    url.searchParams.set("scope", bearer["scope"] ?? `repository:${reference.repository}:pull`);
    const response = await send(url.href, basic === undefined ? {} : { authorization: basic }, signal);
    if (!response.ok) {
      await response.body?.cancel();
      return undefined;
    }
    const body = (await response.json()) as { token?: unknown; access_token?: unknown };
    const token = body.token ?? body.access_token;
    return typeof token === "string" ? `Bearer ${token}` : undefined;
  }

  async function get(reference: ImageReference, path: string, accept: string, signal: AbortSignal): Promise<Response> {
    const url = `${registryUrl(reference.registry)}/v2/${reference.repository}/${path}`;
    const scope = `${reference.registry}/${reference.repository}`;
    const attempt = (): Promise<Response> => {
      const authorization = authorizations.get(scope);
      return send(url, authorization === undefined ? { accept } : { accept, authorization }, signal);
    };
    let response = await attempt();
    if (response.status === 401) {
      await response.body?.cancel();
      authorizations.delete(scope);
      const authorization = await authorize(reference, response.headers.get("www-authenticate") ?? "", signal);
      if (authorization !== undefined) {
        authorizations.set(scope, authorization);
        response = await attempt();
      }
    }
    if (response.status === 200) return response;
    await response.body?.cancel();
    throw refusal(url, response.status);
  }

  return {
    getManifest: (reference, tagOrDigest, signal) =>
      get(reference, `manifests/${tagOrDigest}`, ACCEPTED_MANIFESTS.join(", "), signal),
    getBlob: (reference, digest, signal) => get(reference, `blobs/${digest}`, "*/*", signal),
  };
}

function refusal(url: string, status: number): PullError {
  const facts = { operation: "get", subject: url, got: `status ${status}`, want: "200" };
  if (status === 401 || status === 403) return new PullError("UNAUTHORIZED", facts);
  if (status === 404) return new PullError("NOT_FOUND", facts);
  return new PullError("UNEXPECTED_RESPONSE", { ...facts, retryable: status === 429 || status >= 500 });
}
