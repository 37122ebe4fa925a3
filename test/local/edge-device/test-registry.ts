// A small registry over node:http for the device's tests: serves what it was given, counts, and misbehaves on request.
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestImage } from "./test-images.ts";

/** How the registry treats one request; `undefined` lets it through. */
type Misbehaviour = (request: IncomingMessage, response: ServerResponse) => boolean;

/** A running test registry. */
export interface TestRegistry {
  /** Host and port, as in a reference. */
  readonly host: string;
  /** Every request for a manifest or blob: `<user agent> <path> <status>`. */
  readonly requests: readonly string[];
  /** Body bytes sent per user agent. */
  readonly bytes: ReadonlyMap<string, number>;
  /** Tags an image; returns its reference by tag and digest. */
  push(repository: string, tag: string, image: TestImage): string;
  /** Set to intercept requests. */
  misbehave: Misbehaviour | undefined;
  /** Set to demand Basic or Bearer credentials. */
  auth: { readonly scheme: "Basic" | "Bearer"; readonly username: string; readonly password: string } | undefined;
  close(): Promise<void>;
}

/** Starts a registry on a free port of 127.0.0.1. */
export async function startTestRegistry(): Promise<TestRegistry> {
  const contents = new Map<string, { bytes: Buffer; mediaType: string }>();
  const tags = new Map<string, string>();
  const requests: string[] = [];
  const bytes = new Map<string, number>();

  const server: Server = createServer((request, response) => {
    const path = request.url ?? "";
    const agent = request.headers["user-agent"] ?? "";
    response.on("close", () => {
      if (path.startsWith("/v2/")) requests.push(`${agent} ${path} ${response.statusCode}`);
    });
    if (registry.misbehave?.(request, response) === true) return;
    if (path.startsWith("/token")) return sendToken(request, response);
    if (!isAllowed(request)) return challenge(response);
    const match = /^\/v2\/(.+)\/(manifests|blobs)\/(.+)$/.exec(path);
    const [, repository = "", kind = "", name = ""] = match ?? [];
    const digest = kind === "manifests" ? (tags.get(`${repository}:${name}`) ?? name) : name;
    const content = contents.get(digest);
    if (content === undefined) {
      response.writeHead(404).end();
      return;
    }
    bytes.set(agent, (bytes.get(agent) ?? 0) + content.bytes.length);
    response
      .writeHead(200, {
        "content-type": kind === "manifests" ? content.mediaType : "application/octet-stream",
        "content-length": content.bytes.length,
        "docker-content-digest": digest,
      })
      .end(content.bytes);
  });

  function isAllowed(request: IncomingMessage): boolean {
    const { auth } = registry;
    if (auth === undefined) return true;
    const expected = auth.scheme === "Bearer" ? "Bearer a-token" : basic(auth);
    return request.headers.authorization === expected;
  }

  function challenge(response: ServerResponse): void {
    const realm = `http://${registry.host}/token`;
    const header = registry.auth?.scheme === "Bearer" ? `Bearer realm="${realm}",service="test"` : `Basic realm="test"`;
    response.writeHead(401, { "www-authenticate": header }).end();
  }

  function sendToken(request: IncomingMessage, response: ServerResponse): void {
    const scope = new URL(request.url ?? "", "http://x").searchParams.get("scope") ?? "";
    const granted = registry.auth !== undefined && request.headers.authorization === basic(registry.auth);
    const ok = granted && /^repository:.+:pull$/.test(scope);
    response.writeHead(ok ? 200 : 401, { "content-type": "application/json" });
    response.end(JSON.stringify(ok ? { token: "a-token" } : {}));
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const registry: TestRegistry = {
    host,
    requests,
    bytes,
    misbehave: undefined,
    auth: undefined,
    push(repository, tag, image) {
      for (const [digest, content] of image.contents) contents.set(digest, content);
      tags.set(`${repository}:${tag}`, image.digest);
      return `${host}/${repository}:${tag}@${image.digest}`;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return registry;
}

function basic({ username, password }: { readonly username: string; readonly password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}
