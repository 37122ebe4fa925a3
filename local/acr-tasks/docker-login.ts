// Logs a run in to its registries: the docker config of its home folder, with what each identity gets.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Credentials } from "./run-types.ts";
import { RunError } from "./run-error.ts";

/** Entra access tokens by identity: `[default]`, `[caller]`, `[system]`, or a client id. */
export type IdentityTokens = Readonly<Record<string, string>>;

/** A login as docker keeps it. */
export interface DockerLogin {
  readonly registry: string;
  readonly username: string;
  readonly password: string;
}

/** The user name that marks a password as a refresh token of Azure's registry. */
const TOKEN_USER = "00000000-0000-0000-0000-000000000000";
const LOOPBACK = /^(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?$/;

const denied = (registry: string, got: string, cause?: unknown): RunError =>
  new RunError("LOGIN_DENIED", { operation: "log in to", subject: registry, got, cause });

/**
 * Exchanges an identity's Entra token at a registry for a refresh token (`POST /oauth2/exchange`); undefined when the
 * service holds no token for the default identity, as with a registry that lets everybody in.
 * @throws RunError LOGIN_DENIED
 */
export async function logIn(
  registry: string,
  identity: string,
  tokens: IdentityTokens,
): Promise<DockerLogin | undefined> {
  const token = Object.hasOwn(tokens, identity) ? tokens[identity] : undefined;
  if (token === undefined) {
    if (identity === "[default]") return undefined;
    throw denied(registry, `failed to resolve secrets: no identity ${identity}`);
  }
  const scheme = LOOPBACK.test(registry) ? "http" : "https";
  const form = new URLSearchParams({ grant_type: "access_token", service: registry, access_token: token });
  let response: Response;
  try {
    response = await fetch(`${scheme}://${registry}/oauth2/exchange`, { method: "POST", body: form });
  } catch (cause) {
    throw denied(registry, "it cannot be reached", cause);
  }
  const text = await response.text();
  if (!response.ok) {
    throw denied(
      registry,
      `failed to get ACR refresh token, exchange API response code: ${response.status} ${response.statusText}`,
    );
  }
  const { refresh_token: password } = JSON.parse(text) as { refresh_token?: string };
  if (password === undefined) throw denied(registry, "an answer without refresh token");
  return { registry, username: TOKEN_USER, password };
}

/** Logs in to the custom registries of a request. @throws RunError LOGIN_DENIED */
export async function logInToCustomRegistries(
  credentials: Credentials | undefined,
  tokens: IdentityTokens,
  except: string,
): Promise<DockerLogin[]> {
  const logins: DockerLogin[] = [];
  for (const [registry, { userName, password, identity }] of Object.entries(credentials?.customRegistries ?? {})) {
    if (registry === except && identity !== undefined) continue;
    if (userName?.type === "Vaultsecret" || password?.type === "Vaultsecret") {
      throw denied(registry, "failed to resolve secrets: there is no key vault here");
    }
    if (userName !== undefined && password !== undefined) {
      logins.push({ registry, username: userName.value, password: password.value });
    } else if (identity !== undefined) {
      const login = await logIn(registry, identity === "system" ? "[system]" : identity, tokens);
      if (login !== undefined) logins.push(login);
    } else {
      throw denied(registry, "neither user name and password nor an identity");
    }
  }
  return logins;
}

/** Writes `.docker/config.json` below `home` and returns its path. */
export function writeDockerConfig(home: string, logins: readonly DockerLogin[]): string {
  const folder = join(home, ".docker");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const auths = Object.fromEntries(
    logins.map(({ registry, username, password }) => [
      registry,
      { auth: Buffer.from(`${username}:${password}`).toString("base64") },
    ]),
  );
  const file = join(folder, "config.json");
  writeFileSync(file, JSON.stringify({ auths }, null, 2), { mode: 0o600 });
  return file;
}
