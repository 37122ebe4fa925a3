// Runs the registry adapters' contract over real registries.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AuthOptions } from "../../../local/registry/auth.ts";
import { createRegistry } from "../../../local/registry/registry.ts";
import {
  type ClosableRegistries,
  createRegistries,
  type FindCredentials,
} from "../../../src/adapters/registry/index.ts";
import { startDebianRegistry } from "../../support/debian-registry.ts";
import { missingTools } from "../../support/tools.ts";
import { type Backend, describeRegistryContract } from "./contract.ts";

const withoutDebian = missingTools("docker-registry");

/** Made by bcrypt with cost 4 for the password below, as docker-registry knows no other scheme. */
const HTPASSWD = "lighter:$2b$04$FWiytTp1.VH4YF.lbC77uutT4R48LUFaFIvjVEXTgznKUmEEAWxf.\n";
const basic =
  (password: string): FindCredentials =>
  async () => ({ type: "basic", username: "lighter", password });

async function startDebian(htpasswd?: string): Promise<Backend> {
  const folder = mkdtempSync(join(tmpdir(), "lighter-registry-"));
  const registry = await startDebianRegistry(folder, htpasswd === undefined ? {} : { htpasswd });
  return {
    host: registry.host,
    registries: createRegistries({ credentials: htpasswd === undefined ? async () => undefined : basic("opensesame") }),
    ...(htpasswd === undefined ? {} : { intruders: createRegistries({ credentials: basic("wrong") }) }),
    async close() {
      await registry.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

describeRegistryContract("oci adapter with docker-registry", () => startDebian(), { skip: withoutDebian });
describeRegistryContract("oci adapter with docker-registry and a password file", () => startDebian(HTPASSWD), {
  skip: withoutDebian,
});

const AUTH: AuthOptions = {
  challenge: "bearer",
  users: [{ name: "lighter", password: "opensesame" }],
  identities: [{ name: "pipeline", accessToken: "entra-token-of-the-pipeline" }],
};

async function startLocal(
  auth: AuthOptions | undefined,
  connect: (host: string, genuine: boolean) => ClosableRegistries,
): Promise<Backend> {
  const folder = mkdtempSync(join(tmpdir(), "lighter-registry-"));
  const registry = await createRegistry({ folder, ...(auth === undefined ? {} : { auth }) });
  return {
    host: registry.host,
    registries: connect(registry.host, true),
    ...(auth === undefined ? {} : { intruders: connect(registry.host, false) }),
    async close() {
      await registry.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

describeRegistryContract("oci adapter with the local registry", () =>
  startLocal(undefined, () => createRegistries({ credentials: async () => undefined })),
);
describeRegistryContract("oci adapter with the local registry and Bearer tokens for a password", () =>
  startLocal(AUTH, (_, genuine) => createRegistries({ credentials: basic(genuine ? "opensesame" : "wrong") })),
);
describeRegistryContract("oci adapter with the local registry and an ACR refresh token", () =>
  startLocal(AUTH, (host, genuine) =>
    createRegistries({
      credentials: async () => ({
        type: "refresh-token",
        token: genuine ? await exchangeEntraToken(host, "entra-token-of-the-pipeline") : "no.such.token",
      }),
    }),
  ),
);
describeRegistryContract("acr adapter with the local registry and an Entra identity", () =>
  startLocal(AUTH, (host, genuine) =>
    createRegistries({
      kinds: { [host]: "acr" },
      tokenCredential: async () => ({
        getToken: async () => ({
          token: genuine ? "entra-token-of-the-pipeline" : "entra-token-of-somebody",
          expiresOnTimestamp: Date.now() + 3_600_000,
        }),
      }),
    }),
  ),
);

/** What `az acr login` does: an Entra token for a refresh token, which docker's config then keeps. */
async function exchangeEntraToken(host: string, accessToken: string): Promise<string> {
  const body = new URLSearchParams({ grant_type: "access_token", service: host, access_token: accessToken });
  const response = await fetch(`http://${host}/oauth2/exchange`, { method: "POST", body });
  return ((await response.json()) as { refresh_token: string }).refresh_token;
}
