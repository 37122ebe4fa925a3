// Finds a registry's credentials where docker keeps them: its config file and its credential helpers.
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { fail, type Operation } from "./failure.ts";
import { DOCKER_HUB_CONFIG_KEY, isDockerHub } from "./hosts.ts";

/**
 * What proves who we are: a user name and password, an OAuth2 refresh token to be exchanged at the token server,
 * or an Entra token (a function, as it expires) to be exchanged at an ACR.
 */
export type RegistryCredentials =
  | { readonly type: "basic"; readonly username: string; readonly password: string }
  | { readonly type: "refresh-token"; readonly token: string }
  | { readonly type: "entra"; readonly getToken: () => Promise<string> };

/** Finds the credentials of a registry; undefined when there are none. */
export type FindCredentials = (registry: string) => Promise<RegistryCredentials | undefined>;

/** With this user name, or none, the password is an ACR refresh token (as `az acr login` and ACR Tasks write it). */
const ACR_TOKEN_USER = "00000000-0000-0000-0000-000000000000";
/** With this user name a helper's secret is an identity token (docker-credential-helpers). */
const HELPER_TOKEN_USER = "<token>";
const HELPER_TIMEOUT_MS = 30_000;

const dockerConfigSchema = z.object({
  auths: z
    .record(
      z.string(),
      z.object({
        auth: z.string().optional(),
        username: z.string().optional(),
        password: z.string().optional(),
        identitytoken: z.string().optional(),
      }),
    )
    .optional(),
  credHelpers: z.record(z.string(), z.string()).optional(),
  credsStore: z.string().optional(),
});
type DockerConfig = z.infer<typeof dockerConfigSchema>;

const helperAnswerSchema = z.object({ Username: z.string(), Secret: z.string() });

/**
 * Looks credentials up as docker does: the host's helper, the default store, then `auths` in `config.json`.
 *
 * `folder` defaults to `DOCKER_CONFIG` or `~/.docker`. The file is read once per lookup, so that a new login counts.
 */
export function createDockerCredentials(folder?: string): FindCredentials {
  return async (registry) => {
    const path = join(folder ?? process.env["DOCKER_CONFIG"] ?? join(homedir(), ".docker"), "config.json");
    const config = await readConfig(path, registry);
    const helper = config.credHelpers?.[registry] ?? config.credsStore;
    return (helper ? await askHelper(helper, registry) : undefined) ?? findInAuths(config, registry);
  };
}

async function readConfig(path: string, registry: string): Promise<DockerConfig> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return {};
    throw fail("UNAUTHORIZED", lookup(registry), { got: `${path} cannot be read`, cause: error });
  }
  try {
    return dockerConfigSchema.parse(JSON.parse(text));
  } catch {
    // The parser's message may quote the file, which holds secrets.
    throw fail("UNAUTHORIZED", lookup(registry), { got: `${path} is not a docker config`, want: "JSON with auths" });
  }
}

function findInAuths({ auths = {} }: DockerConfig, registry: string): RegistryCredentials | undefined {
  const names = isDockerHub(registry) ? ["docker.io", "index.docker.io", "registry-1.docker.io"] : [registry];
  const key = Object.keys(auths).find((key) => names.includes(key.replace(/^https?:\/\//, "").replace(/\/.*$/, "")));
  const entry = key === undefined ? undefined : auths[key];
  if (entry === undefined) return undefined;
  if (entry.identitytoken) return { type: "refresh-token", token: entry.identitytoken };
  const decoded = Buffer.from(entry.auth ?? "", "base64").toString();
  const colon = decoded.indexOf(":");
  const username = colon < 0 ? (entry.username ?? "") : decoded.slice(0, colon);
  // Docker's own files sometimes carry a trailing NUL.
  const password = colon < 0 ? (entry.password ?? "") : decoded.slice(colon + 1).replace(/\0+$/, "");
  return toCredentials(username, password);
}

function toCredentials(username: string, password: string): RegistryCredentials | undefined {
  if (password === "") return undefined;
  const isToken = username === "" || username === ACR_TOKEN_USER || username === HELPER_TOKEN_USER;
  return isToken ? { type: "refresh-token", token: password } : { type: "basic", username, password };
}

/** Runs `docker-credential-<helper> get` with the server's name on stdin; its answer is JSON on stdout. */
async function askHelper(helper: string, registry: string): Promise<RegistryCredentials | undefined> {
  const program = `docker-credential-${helper}`;
  if (!/^[\w.-]+$/.test(helper)) {
    throw fail("UNAUTHORIZED", lookup(registry), { got: "a helper that is not a plain name" });
  }
  const { exitCode, stdout } = await runHelper(program, isDockerHub(registry) ? DOCKER_HUB_CONFIG_KEY : registry);
  if (exitCode !== 0) {
    if (stdout.includes("credentials not found")) return undefined;
    throw fail("UNAUTHORIZED", lookup(registry), { got: `${program} ended with ${exitCode}`, want: "0" });
  }
  try {
    const { Username, Secret } = helperAnswerSchema.parse(JSON.parse(stdout));
    return toCredentials(Username, Secret);
  } catch {
    throw fail("UNAUTHORIZED", lookup(registry), { got: `an unreadable answer of ${program}` });
  }
}

function runHelper(program: string, input: string): Promise<{ exitCode: number | string; stdout: string }> {
  return new Promise((resolve) => {
    const child = spawn(program, ["get"], { stdio: ["pipe", "pipe", "ignore"], timeout: HELPER_TIMEOUT_MS });
    const chunks: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.on("error", (error: NodeJS.ErrnoException) => resolve({ exitCode: error.code ?? "an error", stdout: "" }));
    child.on("close", (code, signal) =>
      resolve({ exitCode: code ?? signal ?? "an error", stdout: Buffer.concat(chunks).toString() }),
    );
    // A helper may end without reading; its exit code tells.
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}

function lookup(registry: string): Operation {
  return { operation: "find credentials of", subject: registry, notFound: "UNAUTHORIZED" };
}
