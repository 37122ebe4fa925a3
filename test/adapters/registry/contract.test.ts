// Runs the registry adapters' contract over real registries.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRegistries, type FindCredentials } from "../../../src/adapters/registry/index.ts";
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
