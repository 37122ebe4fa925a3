// Opens repositories of any registry: Azure Container Registry by its SDK, all others over the OCI distribution API.
import type { AccessToken, TokenCredential } from "@azure/core-auth";
import type { Registries, Repository } from "../../ports/registry.ts";
import { createAcrRepository } from "./acr.ts";
import { createAuthorizer } from "./authorizer.ts";
import { createDockerCredentials, type FindCredentials, type RegistryCredentials } from "./credentials.ts";
import { fail } from "./failure.ts";
import { acrAudience, baseUrl, chooseKind, isDockerHub, type RegistryKind } from "./hosts.ts";
import { createOciRepository } from "./oci.ts";
import { DEFAULT_RETRY_POLICY, type RetryPolicy } from "./retry.ts";
import { createSession, type Session } from "./session.ts";
import { createTokenSource } from "./tokens.ts";
import { createTransport } from "./transport.ts";

export type { FindCredentials, RegistryCredentials } from "./credentials.ts";
export type { RegistryKind } from "./hosts.ts";
export type { RetryPolicy } from "./retry.ts";

/** How registries are reached; every field has a default that suits a program run by hand or in Azure. */
export interface RegistriesOptions {
  /** Kinds by host; without one, `*.azurecr.io` (and other clouds') hosts without docker credentials are `acr`. */
  readonly kinds?: Readonly<Record<string, RegistryKind>>;
  /** Finds credentials for `oci` registries; the docker config and its helpers unless given. */
  readonly credentials?: FindCredentials;
  /** The identity for `acr` registries; `DefaultAzureCredential` unless given, loaded on first use. */
  readonly tokenCredential?: () => Promise<TokenCredential>;
  /** Attempts, delays, and the clock and randomness behind them. */
  readonly retry?: Partial<RetryPolicy>;
  /** Silence of a registry after which a request fails, in ms; one minute unless given. */
  readonly idleTimeoutMs?: number;
}

/** Registries that hold connections until closed. */
export interface ClosableRegistries extends Registries {
  /** Drops all connections; idle ones do not keep a process running, so this is for a prompt and tidy end. */
  close(): Promise<void>;
}

const DEFAULT_IDLE_TIMEOUT_MS = 60_000;

/** One registry as found on first use: the kind of its repositories and the session they share. */
interface Connection {
  readonly kind: RegistryKind;
  readonly base: URL;
  readonly session: Session;
}

/**
 * Creates the port `Registries`: picks the adapter and the credentials by host name, on first use of a host.
 *
 * `127.0.0.1`, `localhost` and `[::1]` are reached by plain http, all others by https.
 */
export function createRegistries(options: RegistriesOptions = {}): ClosableRegistries {
  const retry: RetryPolicy = { ...DEFAULT_RETRY_POLICY, ...options.retry };
  const transport = createTransport({ idleTimeoutMs: options.idleTimeoutMs ?? DEFAULT_IDLE_TIMEOUT_MS });
  const findCredentials = options.credentials ?? createDockerCredentials();
  const tokenCredential = memoize(options.tokenCredential ?? loadDefaultCredential);
  const connections = new Map<string, Promise<Connection>>();

  const connect = async (registry: string): Promise<Connection> => {
    const base = baseUrl(registry);
    const forced = options.kinds?.[registry];
    const found = forced === "acr" ? undefined : await findCredentials(registry);
    const kind = forced ?? chooseKind(registry, found !== undefined);
    const credentials: RegistryCredentials | undefined =
      kind === "acr" ? { type: "entra", getToken: async () => (await getEntraToken(registry)).token } : found;
    const tokens = createTokenSource({ base, credentials, transport, now: retry.now });
    const authorizer = createAuthorizer({ base, credentials, tokens, now: retry.now });
    return { kind, base, session: createSession({ base, transport, authorizer, retry }) };
  };
  const getEntraToken = async (registry: string): Promise<AccessToken> => {
    const operation = { operation: "get Entra token for", subject: registry, notFound: "UNAUTHORIZED" } as const;
    const identity = await tokenCredential();
    const token = await identity.getToken(`${acrAudience(registry)}/.default`).catch((error: unknown) => {
      throw fail("UNAUTHORIZED", operation, { got: error instanceof Error ? error.message : "no token" });
    });
    if (token === null) throw fail("UNAUTHORIZED", operation, { got: "no token" });
    return token;
  };
  const openConnection = (registry: string): Promise<Connection> => {
    let connection = connections.get(registry);
    if (connection === undefined) {
      connection = connect(registry);
      // A failed look-up of credentials is tried again on the next call.
      connection.catch(() => connections.delete(registry));
      connections.set(registry, connection);
    }
    return connection;
  };

  return {
    open(registry, repository) {
      // Docker Hub keeps its official images under a name that nobody writes.
      const fullName = isDockerHub(registry) && !repository.includes("/") ? `library/${repository}` : repository;
      const open = memoize(async (): Promise<Repository> => {
        const { kind, base, session } = await openConnection(registry);
        const common = { registry, repository: fullName, base, session, retry };
        if (kind === "oci") return createOciRepository(common);
        const credential = { getToken: () => getEntraToken(registry) };
        return createAcrRepository({ ...common, transport, credential, audience: acrAudience(registry) });
      });
      return createDeferredRepository(registry, fullName, open);
    },
    close: async () => transport.close(),
  };
}

/** A repository whose adapter is found by the first call. */
function createDeferredRepository(registry: string, repository: string, open: () => Promise<Repository>): Repository {
  return {
    registry,
    repository,
    getManifest: async (tagOrDigest) => (await open()).getManifest(tagOrDigest),
    putManifest: async (tagOrDigest, manifest) => (await open()).putManifest(tagOrDigest, manifest),
    writeBlob: async (descriptor, content) => (await open()).writeBlob(descriptor, content),
    mountBlob: async (digest, fromRepository) => (await open()).mountBlob(digest, fromRepository),
    readBlob: (descriptor) => iterate(async () => (await open()).readBlob(descriptor)),
    listTags: () => iterate(async () => (await open()).listTags()),
  };
}

async function* iterate<T>(start: () => Promise<AsyncIterable<T>>): AsyncGenerator<T> {
  yield* await start();
}

/** Runs `create` once; a failure is not kept. */
function memoize<T>(create: () => Promise<T>): () => Promise<T> {
  let created: Promise<T> | undefined;
  return () => {
    created ??= create().catch((error: unknown) => {
      created = undefined;
      throw error;
    });
    return created;
  };
}

async function loadDefaultCredential(): Promise<TokenCredential> {
  const { DefaultAzureCredential } = await import("@azure/identity");
  return new DefaultAzureCredential();
}
