// The byte counters against what a raw TCP client saw, whatever the request, and by which client they are kept.
import { connect } from "node:net";
import { once } from "node:events";
import { expect, test } from "vitest";
import type { LocalRegistry } from "../../../local/registry/registry.ts";
import { digestOf, pushBlob, pushImage, seededBytes, startRegistry } from "./support.ts";

const blob = seededBytes(11, 700_000);

/** Sends bytes over one connection, closes its own side, and returns what came back until the other side closed. */
async function exchange(
  url: string,
  sent: string | Buffer,
  stopAfter = Infinity,
): Promise<{ sent: number; received: number }> {
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  await once(socket, "connect");
  socket.write(sent);
  let received = 0;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    received += chunk.length;
    if (received > stopAfter) break;
  }
  socket.destroy();
  return { sent: Buffer.byteLength(sent), received };
}

const get = (path: string, more = ""): string => `GET ${path} HTTP/1.1\r\nHost: r\r\n${more}\r\n`;
const last = (path: string, more = ""): string => get(path, `${more}Connection: close\r\n`);

test("count every byte of requests and responses, headers and errors included", async () => {
  const registry = await startRegistry();
  const { config, digest, layer } = await pushImage(registry.url, "team/app", "1", blob);
  const url = await registry.endpoint("device-1");
  const script = [
    get("/v2/"),
    get(`/v2/team/app/manifests/1`),
    `HEAD /v2/team/app/manifests/${digest} HTTP/1.1\r\nHost: r\r\n\r\n`,
    get(`/v2/team/app/blobs/${config}`),
    get(`/v2/team/app/blobs/${digestOf(Buffer.from("x"))}`),
    get(`/v2/team/app/blobs/${layer}`, "Range: bytes=5-9\r\n"),
    last(`/v2/team/app/blobs/${layer}`),
  ];
  const seen = await exchange(url, script.join(""));
  expect(seen.received).toBeGreaterThan(blob.length);
  expect(registry.traffic("device-1")).toEqual({
    requests: 7,
    connections: 1,
    requestBytes: seen.sent,
    responseBytes: seen.received,
  });
});

test("count uploads as request bytes", async () => {
  const registry = await startRegistry();
  const url = await registry.endpoint("builder");
  const head =
    `POST /v2/team/app/blobs/uploads/?digest=${digestOf(blob)} HTTP/1.1\r\nHost: r\r\n` +
    `Content-Length: ${blob.length}\r\nConnection: close\r\n\r\n`;
  const seen = await exchange(url, Buffer.concat([Buffer.from(head), blob]));
  expect(registry.traffic("builder")).toMatchObject({ requestBytes: seen.sent, responseBytes: seen.received });
});

test("are up to date the moment a client has its answer, over a connection that stays open", async () => {
  const registry = await startRegistry();
  await pushBlob(registry.url, "team/app", blob);
  const url = await registry.endpoint("device-1");
  const before = registry.traffic("device-1").responseBytes;
  const response = await fetch(`${url}/v2/team/app/blobs/${digestOf(blob)}`);
  await response.arrayBuffer();
  const { responseBytes } = registry.traffic("device-1");
  expect(responseBytes - before).toBeGreaterThanOrEqual(blob.length);
  expect(registry.traffic("device-1").responseBytes).toBe(responseBytes);
});

test("a client that breaks off is charged for what it got, give or take what the kernel held", async () => {
  const registry = await startRegistry();
  const big = seededBytes(12, 60_000_000);
  await pushBlob(registry.url, "team/app", big);
  const url = await registry.endpoint("device-1");
  const seen = await exchange(url, get(`/v2/team/app/blobs/${digestOf(big)}`), 1_000_000);
  await expect.poll(() => registry.traffic("device-1").responseBytes).toBeGreaterThanOrEqual(seen.received);
  expect(registry.traffic("device-1").responseBytes).toBeLessThan(20_000_000);
});

test("tell clients apart by listener, header, User-Agent and name, in this order", async () => {
  const users = [{ name: "ann", password: "p" }];
  const registry = await startRegistry({ auth: { challenge: "basic", users } });
  const Authorization = `Basic ${Buffer.from("ann:p").toString("base64")}`;
  const requests = async (url: string, headers: Record<string, string>): Promise<void> => {
    await (await fetch(`${url}/v2/`, { headers })).text();
  };
  await requests(await registry.endpoint("tap"), { "X-Client": "head", Authorization });
  await requests(registry.url, { "X-Client": "head", "User-Agent": "docker/1 client/agent", Authorization });
  await requests(registry.url, { "User-Agent": "docker/1 client/agent (linux)", Authorization });
  await requests(registry.url, { Authorization });
  await requests(registry.url, {});
  const response = await fetch(`${registry.url}/_local/traffic`);
  const { clients } = (await response.json()) as { clients: Record<string, { requests: number }> };
  const counts = Object.fromEntries(Object.entries(clients).map(([label, { requests }]) => [label, requests]));
  expect(counts).toEqual({ _local: 1, agent: 1, ann: 1, anonymous: 1, head: 1, tap: 1 });
});

test("keep requests of several clients over one connection apart", async () => {
  const registry: LocalRegistry = await startRegistry();
  const { received } = await exchange(registry.url, get("/v2/", "X-Client: a\r\n") + last("/v2/", "X-Client: b\r\n"));
  const [a, b] = [registry.traffic("a"), registry.traffic("b")];
  expect(a.responseBytes + b.responseBytes).toBe(received);
  expect([a.requests, b.requests]).toEqual([1, 1]);
});

test("can be read over HTTP, and listeners opened there", async () => {
  const { url } = await startRegistry();
  const open = async (): Promise<string> => {
    const response = await fetch(`${url}/_local/endpoints/device-1`, { method: "POST" });
    return ((await response.json()) as { url: string }).url;
  };
  const tap = await open();
  expect(await open()).toBe(tap);
  expect(tap).not.toBe(url);
  await (await fetch(`${tap}/v2/`)).text();
  const counted = await (await fetch(`${url}/_local/traffic/device-1`)).json();
  expect(counted).toMatchObject({ requests: 1, connections: 1, responseBytes: expect.any(Number) });
  expect(await (await fetch(`${url}/_local/traffic/nobody`)).json()).toMatchObject({ requests: 0, responseBytes: 0 });
});
