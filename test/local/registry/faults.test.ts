// Faults on purpose, replicas that lag, and the limit of reads per minute.
import { expect, test } from "vitest";
import { createSteppedClock } from "../../../local/clock.ts";
import { errorCodes, pushBlob, pushImage, putManifest, seededBytes, startRegistry } from "./support.ts";

const blob = seededBytes(14, 500_000);

test("the next matching requests are refused with a status, others are not", async () => {
  const registry = await startRegistry();
  const digest = await pushBlob(registry.url, "team/app", blob);
  const remaining = registry.faults.inject({
    match: { method: "GET", path: "/blobs/sha256" },
    times: 2,
    effect: { kind: "status", status: 503, code: "UNAVAILABLE", retryAfterSeconds: 7 },
  });
  const read = (method = "GET"): Promise<Response> => fetch(`${registry.url}/v2/team/app/blobs/${digest}`, { method });
  expect((await read("HEAD")).status).toBe(200);
  const first = await read();
  expect([first.status, first.headers.get("retry-after"), await errorCodes(first)]).toEqual([
    503,
    "7",
    ["UNAVAILABLE"],
  ]);
  expect(remaining()).toBe(1);
  expect((await read()).status).toBe(503);
  expect(remaining()).toBe(0);
  expect((await read()).status).toBe(200);
});

test("a fault can be for one client only", async () => {
  const registry = await startRegistry();
  const [near, far] = [await registry.endpoint("near"), await registry.endpoint("far")];
  registry.faults.inject({ match: { client: "far" }, effect: { kind: "status", status: 500 } });
  expect((await fetch(`${near}/v2/`)).status).toBe(200);
  expect((await fetch(`${far}/v2/`)).status).toBe(500);
});

test("a connection can be reset before any answer", async () => {
  const registry = await startRegistry();
  registry.faults.inject({ effect: { kind: "reset" } });
  await expect(fetch(`${registry.url}/v2/`)).rejects.toMatchObject({ cause: { code: "ECONNRESET" } });
  expect((await fetch(`${registry.url}/v2/`)).status).toBe(200);
});

test("a blob can be cut, a range of it read afterwards", async () => {
  const registry = await startRegistry();
  const path = `${registry.url}/v2/team/app/blobs/${await pushBlob(registry.url, "team/app", blob)}`;
  registry.faults.inject({ match: { path: "/blobs/" }, effect: { kind: "truncate", afterBytes: 300_001 } });
  const response = await fetch(path);
  expect([response.status, response.headers.get("content-length")]).toEqual([200, "500000"]);
  const got: Uint8Array[] = [];
  const read = async (): Promise<void> => {
    for await (const chunk of response.body ?? []) got.push(chunk as Uint8Array);
  };
  await expect(read()).rejects.toThrow("terminated");
  expect(Buffer.concat(got).equals(blob.subarray(0, 300_001))).toBe(true);
  const rest = await fetch(path, { headers: { Range: "bytes=300001-" } });
  expect(Buffer.from(await rest.arrayBuffer()).equals(blob.subarray(300_001))).toBe(true);
});

test.each([0, 262_143, 262_144, 499_999])("the byte at %i of a blob can be damaged", async (offset) => {
  const registry = await startRegistry();
  const path = `${registry.url}/v2/team/app/blobs/${await pushBlob(registry.url, "team/app", blob)}`;
  registry.faults.inject({ effect: { kind: "corrupt", offset } });
  const got = Buffer.from(await (await fetch(path)).arrayBuffer());
  expect(got.length).toBe(blob.length);
  got[offset] = (got[offset] ?? 0) ^ 0xff;
  expect(got.equals(blob)).toBe(true);
  expect(Buffer.from(await (await fetch(path)).arrayBuffer()).equals(blob)).toBe(true);
});

test("a manifest can be damaged and cut as a blob can", async () => {
  const registry = await startRegistry();
  const { body } = await pushImage(registry.url, "team/app", "1", blob);
  const path = `${registry.url}/v2/team/app/manifests/1`;
  registry.faults.inject({ match: { path: "/manifests/" }, effect: { kind: "corrupt", offset: 0 } });
  const damaged = await (await fetch(path)).text();
  expect([damaged.slice(1), damaged[0] === body[0]]).toEqual([body.slice(1), false]);
  registry.faults.inject({ match: { path: "/manifests/" }, effect: { kind: "truncate", afterBytes: 10 } });
  await expect((await fetch(path)).text()).rejects.toThrow("terminated");
});

test("a delay follows the clock", async () => {
  const clock = createSteppedClock(0);
  const registry = await startRegistry({ clock });
  registry.faults.inject({ effect: { kind: "delay", ms: 60_000 } });
  const states: string[] = [];
  const slow = fetch(`${registry.url}/v2/`).then(({ status }) => states.push(`slow ${status}`));
  await expect.poll(() => registry.traffic("anonymous").requests).toBe(1);
  expect((await fetch(`${registry.url}/v2/`)).status).toBe(200);
  await clock.advance(59_999);
  states.push("a minute less a bit");
  await clock.advance(1);
  await slow;
  expect(states).toEqual(["a minute less a bit", "slow 200"]);
});

test("faults and settings are taken over HTTP, and bad ones refused", async () => {
  const { url } = await startRegistry();
  const admin = (method: string, path: string, body?: string): Promise<Response> =>
    fetch(`${url}/_local/${path}`, { method, ...(body === undefined ? {} : { body }) });
  const fault = JSON.stringify({ match: { path: "^/v2/$" }, effect: { kind: "status", status: 502 } });
  expect((await admin("POST", "faults", fault)).status).toBe(204);
  expect((await fetch(`${url}/v2/`)).status).toBe(502);
  await admin("POST", "faults", fault);
  expect((await admin("DELETE", "faults")).status).toBe(204);
  expect((await fetch(`${url}/v2/`)).status).toBe(200);
  for (const bad of ["{", "{}", '{"effect":{"kind":"none"}}', '{"match":{"path":"("},"effect":{"kind":"reset"}}']) {
    expect((await admin("POST", "faults", bad)).status).toBe(400);
  }
  expect((await admin("PATCH", "settings", '{"readsPerMinute":0}')).status).toBe(204);
  expect((await fetch(`${url}/v2/_catalog`)).status).toBe(429);
  expect((await admin("PATCH", "settings", '{"readsPerMinute":null}')).status).toBe(204);
  expect((await fetch(`${url}/v2/_catalog`)).status).toBe(200);
  expect((await admin("GET", "nothing")).status).toBe(404);
});

test("a lagging replica shows a new tag late and an old one a little longer", async () => {
  const clock = createSteppedClock(0);
  const registry = await startRegistry({ clock, replicaLagMs: 30_000 });
  const seen = async (reference: string): Promise<string | number> => {
    const response = await fetch(`${registry.url}/v2/team/app/manifests/${reference}`, { method: "HEAD" });
    return response.headers.get("docker-content-digest") ?? response.status;
  };
  const first = await pushImage(registry.url, "team/app", "1", blob);
  expect([await seen("1"), await seen(first.digest)]).toEqual([404, 404]);
  await clock.advance(30_000);
  expect([await seen("1"), await seen(first.digest)]).toEqual([first.digest, first.digest]);
  const second = await pushImage(registry.url, "team/app", "1", seededBytes(15, 10));
  expect([await seen("1"), await seen(second.digest)]).toEqual([first.digest, 404]);
  await putManifest(registry.url, "team/app", "1", second.body);
  expect(await seen("1")).toBe(first.digest);
  await clock.advance(30_000);
  expect([await seen("1"), await seen(second.digest)]).toEqual([second.digest, second.digest]);
});

test("reads above the limit get 429 with Retry-After until the minute is over; writes do not count", async () => {
  const clock = createSteppedClock(90_000);
  const registry = await startRegistry({ clock, readsPerMinute: 3 });
  await pushImage(registry.url, "team/app", "1", blob);
  const read = (): Promise<Response> => fetch(`${registry.url}/v2/team/app/manifests/1`, { method: "HEAD" });
  for (let reads = 0; reads < 3; reads++) expect((await read()).status).toBe(200);
  expect((await read()).status).toBe(429);
  const refused = await fetch(`${registry.url}/v2/team/app/tags/list`);
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "30"]);
  expect(await errorCodes(refused)).toEqual(["TOOMANYREQUESTS"]);
  await pushImage(registry.url, "team/app", "2", blob);
  await clock.advance(30_000);
  expect((await read()).status).toBe(200);
});
