// What the registry tells others of pushes and deletes: ACR's webhooks once, Docker's notifications until they arrive.
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { createSteppedClock } from "../../../local/clock.ts";
import { pushImage, putManifest, seededBytes, startRegistry } from "./support.ts";

interface Received {
  readonly headers: IncomingHttpHeaders;
  readonly body: Record<string, unknown>;
}

/** A server that keeps what it receives and answers with the statuses given, the last one for ever; 0 never answers. */
async function startReceiver(...statuses: number[]): Promise<{ url: string; received: Received[] }> {
  const received: Received[] = [];
  const receive = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const bytes = await buffer(request);
    received.push({ headers: request.headers, body: JSON.parse(bytes.toString()) as Record<string, unknown> });
    const status = statuses[Math.min(received.length, statuses.length) - 1] ?? 200;
    if (status !== 0) response.writeHead(status).end();
  };
  const server = createServer((request, response) => void receive(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?x=1`, received };
}

const layer = seededBytes(13, 1000);
const START = Date.UTC(2026, 10, 20, 8, 30, 0, 123);

test("a tagged push is told in ACR's form, with the secret in its header", async () => {
  const receiver = await startReceiver();
  const ids = Array.from({ length: 20 }, (_, index) => `id-${index}`)[Symbol.iterator]();
  const registry = await startRegistry({
    clock: createSteppedClock(START),
    createId: () => ids.next().value ?? "none",
    webhooks: [{ name: "hook", url: receiver.url, headers: { "X-Secret": "s3cret" } }],
  });
  const { body, digest } = await pushImage(registry.url, "team/app", "v1", layer);
  await registry.webhooks.settled();
  expect(receiver.received).toHaveLength(1);
  const { headers, body: event } = receiver.received[0] as Received;
  expect(headers["content-type"]).toBe("application/json; charset=utf-8");
  expect(headers["x-secret"]).toBe("s3cret");
  expect(event).toEqual({
    id: expect.stringMatching(/^id-/),
    timestamp: "2026-11-20T08:30:00.123000000Z",
    action: "push",
    target: {
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      size: body.length,
      digest,
      length: body.length,
      repository: "team/app",
      tag: "v1",
    },
    request: { id: expect.stringMatching(/^id-/), host: registry.host, method: "PUT", useragent: "node" },
  });
  expect(Object.keys(event)).toEqual(["id", "timestamp", "action", "target", "request"]);
});

test("blobs, untagged manifests and untagging are not told; deleting a manifest is", async () => {
  const receiver = await startReceiver();
  const registry = await startRegistry({ webhooks: [{ name: "hook", url: receiver.url }] });
  const image = await pushImage(registry.url, "team/app", "v1", layer);
  await putManifest(registry.url, "team/app", image.digest, image.body);
  const path = `${registry.url}/v2/team/app/manifests`;
  await fetch(`${path}/v1`, { method: "DELETE" });
  await fetch(`${path}/${image.digest}`, { method: "DELETE" });
  await registry.webhooks.settled();
  const actions = receiver.received.map(({ body }) => body["action"]);
  expect(actions).toHaveLength(2);
  expect(new Set(actions)).toEqual(new Set(["push", "delete"]));
  const deleted = receiver.received.find(({ body }) => body["action"] === "delete")?.body;
  expect(deleted).toMatchObject({
    target: { digest: image.digest, repository: "team/app" },
    request: { method: "DELETE" },
  });
  expect(deleted?.["target"]).not.toHaveProperty("tag");
});

test.each([
  ["an error", 500],
  ["no answer within the timeout", 0],
])("after %s there is no second attempt", async (_what, status) => {
  const receiver = await startReceiver(status);
  const registry = await startRegistry({
    webhookTimeoutMs: 50,
    webhooks: [{ name: "hook", url: receiver.url }],
  });
  await pushImage(registry.url, "team/app", "v1", layer);
  await registry.webhooks.settled();
  expect(receiver.received).toHaveLength(1);
  const [delivery] = registry.webhooks.deliveries();
  expect(registry.webhooks.deliveries()).toHaveLength(1);
  expect(delivery?.status ?? delivery?.error).toEqual(status === 0 ? expect.stringContaining("Timeout") : 500);
});

test("an unreachable receiver does not disturb the push", async () => {
  const registry = await startRegistry({ webhooks: [{ name: "hook", url: "http://127.0.0.1:1/" }] });
  await pushImage(registry.url, "team/app", "v1", layer);
  await registry.webhooks.settled();
  expect(registry.webhooks.deliveries()).toMatchObject([{ target: "hook", action: "push", error: expect.any(String) }]);
});

test("every push of a tag is told, also of the same manifest", async () => {
  const receiver = await startReceiver();
  const registry = await startRegistry({ webhooks: [{ name: "hook", url: receiver.url }] });
  const { body } = await pushImage(registry.url, "team/app", "v1", layer);
  await putManifest(registry.url, "team/app", "v1", body);
  await registry.webhooks.settled();
  expect(new Set(receiver.received.map(({ body }) => body["id"])).size).toBe(2);
});

test.each([
  ["", ["a:1", "a:latest", "b:1"]],
  ["a:*", ["a:1", "a:latest"]],
  ["a:1", ["a:1"]],
  ["a", ["a:latest"]],
])("the scope %j lets through %j", async (scope, expected) => {
  const receiver = await startReceiver();
  const registry = await startRegistry({ webhooks: [{ name: "hook", url: receiver.url, scope }] });
  for (const [name, tag] of [
    ["a", "1"],
    ["a", "latest"],
    ["b", "1"],
  ]) {
    await pushImage(registry.url, name ?? "", tag ?? "", layer);
  }
  await registry.webhooks.settled();
  const targets = receiver.received.map(({ body }) => body["target"] as { repository: string; tag: string });
  expect(targets.map(({ repository, tag }) => `${repository}:${tag}`).sort()).toEqual(expected);
});

test("targets are added, pinged, listed without their secrets and removed over HTTP", async () => {
  const receiver = await startReceiver();
  const { url, webhooks } = await startRegistry();
  const admin = (method: string, path: string, body?: unknown): Promise<Response> =>
    fetch(`${url}/_local/webhooks${path}`, { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  const target = { name: "hook", url: receiver.url, headers: { "X-Secret": "s" }, actions: ["delete"] };
  expect((await admin("POST", "", target)).status).toBe(204);
  expect(await (await admin("GET", "")).json()).toEqual({
    webhooks: [{ name: "hook", url: receiver.url, actions: ["delete"] }],
  });
  const ping = await admin("POST", "/hook/ping");
  expect(await ping.json()).toMatchObject({ target: "hook", action: "ping", status: 200 });
  expect(receiver.received[0]?.headers["x-secret"]).toBe("s");
  expect(Object.keys(receiver.received[0]?.body ?? {})).toEqual(["id", "timestamp", "action"]);
  await pushImage(url, "team/app", "v1", layer);
  await webhooks.settled();
  expect(receiver.received).toHaveLength(1);
  expect((await admin("DELETE", "/hook")).status).toBe(204);
  expect((await admin("POST", "/hook/ping")).status).toBe(404);
  expect((await admin("POST", "", { name: "hook" })).status).toBe(400);
});

test("Docker's notifications tell blobs and manifests in batches and are repeated until they are taken", async () => {
  const receiver = await startReceiver(503, 503, 200);
  const clock = createSteppedClock(START);
  const registry = await startRegistry({
    clock,
    webhooks: [{ name: "hook", url: receiver.url, form: "distribution" }],
  });
  const image = await pushImage(registry.url, "team/app", "v1", layer);
  await expect.poll(() => receiver.received.length).toBe(1);
  for (const attempt of [2, 3]) {
    await expect.poll(() => registry.webhooks.deliveries().length).toBe(attempt - 1);
    await clock.advance(1000);
    await expect.poll(() => receiver.received.length).toBeGreaterThanOrEqual(attempt);
  }
  await registry.webhooks.settled();
  expect(receiver.received[0]?.headers["content-type"]).toBe("application/vnd.docker.distribution.events.v1+json");
  const events = receiver.received.slice(2).flatMap(({ body }) => body["events"] as Record<string, unknown>[]);
  expect(events).toHaveLength(3);
  expect(events.at(-1)).toEqual({
    id: expect.any(String),
    timestamp: "2026-11-20T08:30:00.123000000Z",
    action: "push",
    target: {
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      size: image.body.length,
      length: image.body.length,
      digest: image.digest,
      repository: "team/app",
      url: `${registry.url}/v2/team/app/manifests/${image.digest}`,
      tag: "v1",
    },
    request: {
      id: expect.any(String),
      addr: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
      host: registry.host,
      method: "PUT",
      useragent: "node",
    },
    actor: {},
    source: { addr: registry.host, instanceID: expect.any(String) },
  });
  const blobs = events.slice(0, 2).map(({ target }) => (target as { mediaType: string; tag?: string }).mediaType);
  expect(blobs).toEqual(["application/octet-stream", "application/octet-stream"]);
});
