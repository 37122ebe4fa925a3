// The embedded registry through Azure's own SDK, with a plain-http shim, open to all and behind Entra tokens.
import { ContainerRegistryClient, ContainerRegistryContentClient } from "@azure/container-registry";
import type { AccessToken, TokenCredential } from "@azure/core-auth";
import { createDefaultHttpClient, type HttpClient } from "@azure/core-rest-pipeline";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import type { AuthOptions } from "../../../local/registry/auth.ts";
import type { LocalRegistry } from "../../../local/registry/registry.ts";
import { digestOf, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, seededBytes, startRegistry } from "./support.ts";

/** Lets the SDK speak plain http; it counts requests by method and path so that tests can see the token calls. */
function createShim(): { client: HttpClient; seen: string[] } {
  const base = createDefaultHttpClient();
  const seen: string[] = [];
  const client: HttpClient = {
    async sendRequest(request) {
      request.url = request.url.replace("https://127.0.0.1", "http://127.0.0.1");
      request.allowInsecureConnection = true;
      seen.push(`${request.method} ${new URL(request.url).pathname}`);
      return await base.sendRequest(request);
    },
  };
  return { client, seen };
}

function credentialFor(token: string): TokenCredential {
  const expiresOnTimestamp = Date.now() + 3_600_000;
  return { getToken: (): Promise<AccessToken> => Promise.resolve({ token, expiresOnTimestamp }) };
}

const AUTH: AuthOptions = {
  challenge: "bearer",
  identities: [
    { name: "builder", accessToken: "entra-builder" },
    {
      name: "device",
      accessToken: "entra-device",
      grants: [{ repository: "team/*", actions: ["pull", "metadata_read"] }],
    },
  ],
};

const noRetries = { retryOptions: { maxRetries: 0 } };

interface Clients {
  readonly content: (repository: string) => ContainerRegistryContentClient;
  readonly registry: ContainerRegistryClient;
  readonly seen: string[];
}
function connect({ url }: LocalRegistry, token = "entra-builder"): Clients {
  const { client, seen } = createShim();
  const endpoint = url.replace("http://", "https://");
  const options = { httpClient: client, ...noRetries };
  const credential = credentialFor(token);
  return {
    content: (repository) => new ContainerRegistryContentClient(endpoint, repository, credential, options),
    registry: new ContainerRegistryClient(endpoint, credential, options),
    seen,
  };
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

async function pushWith(client: ContainerRegistryContentClient, tag: string, layer: Buffer): Promise<string> {
  const config = Buffer.from(JSON.stringify({ os: "linux", architecture: "arm64", tag }));
  const uploadedConfig = await client.uploadBlob(config);
  const uploadedLayer = await client.uploadBlob(Readable.from([layer]));
  expect(uploadedLayer).toEqual({ digest: digestOf(layer), sizeInBytes: layer.length });
  const { digest } = await client.setManifest(
    {
      schemaVersion: 2,
      config: { mediaType: OCI_CONFIG, digest: uploadedConfig.digest, size: uploadedConfig.sizeInBytes },
      layers: [{ mediaType: OCI_LAYER, digest: uploadedLayer.digest, size: uploadedLayer.sizeInBytes }],
    },
    { tag },
  );
  return digest;
}

describe.each([
  ["open to all", undefined],
  ["behind Entra tokens", AUTH],
])("the SDK against a registry %s", (_name, auth) => {
  const setUp = async (): Promise<LocalRegistry> => await startRegistry(auth === undefined ? {} : { auth });

  test("pushes and pulls blobs in several chunks, manifests and an index", async () => {
    const { content } = connect(await setUp());
    const client = content("team/app");
    const layer = seededBytes(5, 9_000_000);
    const digest = await pushWith(client, "1", layer);
    const manifest = await client.getManifest("1");
    expect([manifest.digest, manifest.mediaType]).toEqual([digest, OCI_MANIFEST]);
    const { content: stream } = await client.downloadBlob(digestOf(layer));
    expect((await buffer(stream)).equals(layer)).toBe(true);
    const index = { schemaVersion: 2, manifests: [{ mediaType: OCI_MANIFEST, digest, size: manifest.content.length }] };
    const pushed = await client.setManifest(Buffer.from(JSON.stringify(index)), { tag: "all", mediaType: OCI_INDEX });
    expect((await client.getManifest(pushed.digest)).manifest).toEqual(index);
    await client.deleteManifest(pushed.digest);
    await client.deleteBlob(digestOf(layer));
    await expect(client.getManifest("all")).rejects.toMatchObject({ statusCode: 404 });
    await expect(client.downloadBlob(digestOf(layer))).rejects.toMatchObject({ statusCode: 404 });
  });

  test("lists repositories, manifests and tags, page by page and by time", async () => {
    let time = 1_000_000;
    const clock = { now: () => (time += 1000), after: () => () => undefined };
    const registry = await startRegistry({ clock, ...(auth === undefined ? {} : { auth }) });
    const clients = connect(registry);
    const digests: string[] = [];
    for (const tag of ["c", "a", "b"])
      digests.push(await pushWith(clients.content("team/app"), tag, seededBytes(6, 500)));
    for (const name of ["x", "y"]) await pushWith(clients.content(name), "1", seededBytes(6, 500));

    expect(await collect(clients.registry.listRepositoryNames())).toEqual(["team/app", "x", "y"]);
    const pages = await collect(clients.registry.listRepositoryNames().byPage({ maxPageSize: 2 }));
    expect(pages.map((page) => [...page])).toEqual([["team/app", "x"], ["y"]]);

    const repository = clients.registry.getRepository("team/app");
    const properties = await repository.getProperties();
    expect(properties).toMatchObject({
      name: "team/app",
      registryLoginServer: registry.host,
      manifestCount: 3,
      tagCount: 3,
    });
    expect(properties.lastUpdatedOn > properties.createdOn).toBe(true);
    const newest = await collect(
      repository.listManifestProperties({ order: "LastUpdatedOnDescending" }).byPage({ maxPageSize: 2 }),
    );
    expect(newest.map((page) => page.map(({ digest }) => digest))).toEqual([[digests[2], digests[1]], [digests[0]]]);
    const oldest = await collect(repository.listManifestProperties({ order: "LastUpdatedOnAscending" }));
    expect(oldest.map(({ tags }) => tags)).toEqual([["c"], ["a"], ["b"]]);
    expect(oldest[0]).toMatchObject({ architecture: "arm64", operatingSystem: "linux", canDelete: true });

    const artifact = repository.getArtifact("a");
    expect((await artifact.getManifestProperties()).digest).toBe(digests[1]);
    expect((await artifact.getTagProperties("a")).digest).toBe(digests[1]);
    const tags = await collect(artifact.listTagProperties({ order: "LastUpdatedOnDescending" }));
    expect(tags.map(({ name }) => name)).toEqual(["b", "a", "c"]);
    await artifact.deleteTag("a");
    await expect(artifact.getTagProperties("a")).rejects.toMatchObject({ statusCode: 404 });
  });

  test("locks a manifest against deletion and reading, a tag against writing, and deletes a repository", async () => {
    const clients = connect(await setUp());
    const client = clients.content("team/app");
    const digest = await pushWith(client, "1", seededBytes(7, 100));
    const artifact = clients.registry.getArtifact("team/app", digest);
    const locked = await artifact.updateManifestProperties({ canDelete: false, canRead: false });
    expect(locked).toMatchObject({ canDelete: false, canRead: false, canWrite: true });
    await expect(client.deleteManifest(digest)).rejects.toMatchObject({ statusCode: 405 });
    await expect(client.getManifest("1")).rejects.toMatchObject({ statusCode: 405 });
    await artifact.updateManifestProperties({ canDelete: true, canRead: true });
    await artifact.updateTagProperties("1", { canWrite: false });
    await expect(pushWith(client, "1", seededBytes(8, 100))).rejects.toMatchObject({ statusCode: 405 });
    await clients.registry.deleteRepository("team/app");
    expect(await collect(clients.registry.listRepositoryNames())).toEqual([]);
    await expect(clients.registry.getRepository("team/app").getProperties()).rejects.toMatchObject({ statusCode: 404 });
  });
});

describe("Entra tokens", () => {
  test("are exchanged for a refresh token once and for an access token per scope", async () => {
    const { content, seen } = connect(await startRegistry({ auth: AUTH }));
    const client = content("team/app");
    const digest = await pushWith(client, "1", seededBytes(9, 100));
    await client.getManifest(digest);
    expect(seen.filter((call) => call.endsWith("/oauth2/exchange"))).toHaveLength(1);
    expect(seen.filter((call) => call.endsWith("/oauth2/token"))).toHaveLength(1);
    await client.deleteManifest(digest);
    expect(seen.filter((call) => call.endsWith("/oauth2/exchange"))).toHaveLength(1);
    expect(seen.filter((call) => call.endsWith("/oauth2/token"))).toHaveLength(2);
  });

  test("give an identity what it was granted and no more", async () => {
    const registry = await startRegistry({ auth: AUTH });
    await pushWith(connect(registry).content("team/app"), "1", seededBytes(9, 100));
    await pushWith(connect(registry).content("other"), "1", seededBytes(9, 100));
    const device = connect(registry, "entra-device");
    expect((await device.content("team/app").getManifest("1")).mediaType).toBe(OCI_MANIFEST);
    expect((await device.registry.getRepository("team/app").getProperties()).tagCount).toBe(1);
    await expect(pushWith(device.content("team/app"), "2", seededBytes(9, 100))).rejects.toMatchObject({
      statusCode: 401,
    });
    await expect(device.content("other").getManifest("1")).rejects.toMatchObject({ statusCode: 401 });
    await expect(collect(device.registry.listRepositoryNames())).rejects.toMatchObject({ statusCode: 401 });
  });

  test("that the registry does not know are refused at the exchange", async () => {
    const { content, seen } = connect(await startRegistry({ auth: AUTH }), "entra-nobody");
    await expect(content("team/app").getManifest("1")).rejects.toMatchObject({ statusCode: 401 });
    expect(seen.at(-1)).toBe("POST /oauth2/exchange");
  });

  test("an expired access token is challenged and renewed", async () => {
    let time = Date.now();
    const registry = await startRegistry({ auth: { ...AUTH, accessTokenMs: 60_000, now: () => time } });
    const { content, seen } = connect(registry);
    const client = content("team/app");
    const digest = await pushWith(client, "1", seededBytes(9, 100));
    time += 61_000;
    expect((await client.getManifest("1")).digest).toBe(digest);
    expect(seen.filter((call) => call.endsWith("/oauth2/token"))).toHaveLength(2);
  });

  test("without a credential the SDK pulls anonymously where that is allowed", async () => {
    const registry = await startRegistry({ auth: { ...AUTH, anonymousPull: true } });
    const digest = await pushWith(connect(registry).content("team/app"), "1", seededBytes(9, 100));
    const { client, seen } = createShim();
    const endpoint = registry.url.replace("http://", "https://");
    const anonymous = new ContainerRegistryClient(endpoint, { httpClient: client, ...noRetries });
    const artifact = anonymous.getArtifact("team/app", "1");
    expect((await artifact.getManifestProperties()).digest).toBe(digest);
    await expect(artifact.deleteTag("1")).rejects.toMatchObject({ statusCode: 401 });
    expect(seen.filter((call) => call.endsWith("/oauth2/token"))).toHaveLength(2);
    expect(seen.filter((call) => call.endsWith("/oauth2/exchange"))).toHaveLength(0);
  });
});
