// HTTP functions on a real host process: routes, keys, bodies, responses, hooks, logs and limits.
import { request as httpRequest } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeFolder, optionsFor, startHost } from "./host-process.ts";
import type { HostProcess } from "./host-process.ts";

const folder = makeFolder();
let host: HostProcess;

beforeAll(async () => {
  const keys = {
    master: "master-key",
    host: { default: "host-key" },
    functions: { guarded: { mine: "function-key" } },
  };
  const settings = { FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: "1000000" };
  host = await startHost(optionsFor("http.ts", folder.path, { keys, settings, logLevel: "trace", httpTimeoutMs: 300 }));
});
afterAll(async () => {
  await host.stop();
  folder.remove();
});

const get = async (path: string, headers: Record<string, string> = {}): Promise<Response> =>
  host.call(path, { headers });
const post = async (path: string, body: RequestInit["body"], init: RequestInit = {}): Promise<Response> =>
  host.call(path, { method: "POST", body: body as string, ...init });

describe("routes", () => {
  test.each([
    ["/api/items/latest", "literal", {}],
    ["/api/ITEMS/Latest", "literal", {}],
    ["/api/items/42", "number", { id: "42" }],
    ["/api/items/-7", "number", { id: "-7" }],
    ["/api/items/99999999999", "text", { id: "99999999999" }],
    ["/api/items/a%20b", "text", { id: "a b" }],
    ["/api/items/x/", "text", { id: "x" }],
    ["/api/optional/a", "optional", { first: "a" }],
    ["/api/optional/a/b", "optional", { first: "a", second: "b" }],
    ["/api/defaulted", "defaulted", { page: "1" }],
    ["/api/defaulted/9", "defaulted", { page: "9" }],
    ["/api/files", "rest", {}],
    ["/api/files/a/b/c.txt", "rest", { path: "a/b/c.txt" }],
    [
      "/api/users/anna/00000000-0000-0000-0000-000000000001",
      "constrained",
      { name: "anna", id: "00000000-0000-0000-0000-000000000001" },
    ],
    ["/api/codes/a12", "pattern", { code: "a12" }],
    ["/api/pictures/cat.v2.png", "composed", { name: "cat.v2", ext: "png" }],
  ])("%s goes to %s", async (path, name, params) => {
    expect(await (await get(path)).json()).toEqual({ name, params });
  });

  test.each([
    "/api/users/an/00000000-0000-0000-0000-000000000001",
    "/api/codes/12",
    "/api/optional",
    "/api/none",
    "/items/latest",
    "/api/items/%zz",
  ])("%s is 404", async (path) => {
    expect((await get(path)).status).toBe(404);
  });

  test("the function's name is its route by default", async () => {
    expect(await (await get("/api/noRoute")).text()).toBe("by name");
  });

  test("a method that the function does not list is 404, as with the service", async () => {
    expect((await host.call("/api/items/latest", { method: "DELETE" })).status).toBe(404);
    expect((await host.call("/api/items/latest", { method: "HEAD" })).status).toBe(404);
    expect((await host.call("/api/json")).status).toBe(404);
  });
});

describe("keys", () => {
  test.each([
    ["anonymous", "", {}, 200],
    ["guarded", "", {}, 401],
    ["guarded", "", { "x-functions-key": "wrong" }, 401],
    ["guarded", "", { "x-functions-key": "function-key" }, 200],
    ["guarded", "", { "x-functions-key": "host-key" }, 200],
    ["guarded", "", { "x-functions-key": "master-key" }, 200],
    ["guarded", "?code=function-key", {}, 200],
    ["guarded", "?code=function-key", { "x-functions-key": "wrong" }, 401],
    ["administered", "?code=host-key", {}, 401],
    ["administered", "?code=master-key", {}, 200],
  ] as [string, string, Record<string, string>, number][])(
    "%s%s with %o answers %i",
    async (name, query, headers, status) => {
      const response = await get(`/api/${name}${query}`, headers);
      expect(response.status).toBe(status);
      if (status === 401) expect(await response.text()).toBe("");
    },
  );

  test("the host's own endpoints want the master key, webhooks their system key", async () => {
    expect((await get("/admin/host/status")).status).toBe(401);
    expect((await get("/admin/functions", { "x-functions-key": "host-key" })).status).toBe(401);
    expect((await get("/runtime/webhooks/durabletask/instances/")).status).toBe(401);
    expect((await get("/runtime/webhooks/durabletask/instances/?code=host-key")).status).toBe(401);
    const key = host.keys.system["durabletask_extension"] ?? "";
    expect((await get(`/runtime/webhooks/durabletask/instances/?code=${key}`)).status).toBe(200);
    expect((await get("/runtime/webhooks/durabletask/instances/?code=master-key")).status).toBe(200);
  });
});

describe("requests", () => {
  test("arrive with lower-case headers, joined query values and an absolute URL", async () => {
    const response = await get("/api/inspect?a=1&a=2&b=x%20y", { "X-Custom": "Yes" });
    const { url, query, headers } = (await response.json()) as Record<string, Record<string, string>>;
    expect(url).toBe(`${host.url}/api/inspect?a=1&a=2&b=x%20y`);
    expect(query).toEqual({ a: "1,2", b: "x y" });
    expect(headers?.["x-custom"]).toBe("Yes");
  });

  test("carry text, JSON, bytes and forms", async () => {
    expect(await (await post("/api/inspect", "grüße")).json()).toMatchObject({ text: "grüße" });
    const json = await post("/api/json", '{"a":[1]}');
    expect([json.status, await json.json()]).toEqual([201, { got: { a: [1] } }]);
    const bytes = await post("/api/bytes", Buffer.from([0, 1, 254, 255]));
    expect(Buffer.from(await bytes.arrayBuffer())).toEqual(Buffer.from([255, 254, 1, 0]));
    const form = new FormData();
    form.set("field", "value");
    form.set("file", new Blob(["content"]), "a.txt");
    expect(await (await post("/api/form", form as never)).json()).toEqual({ field: "value", file: "content" });
  });

  test("lose a body without Content-Length, with a warning", async () => {
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode("lost"));
        controller.close();
      },
    });
    const response = await post("/api/inspect", body as never, { duplex: "half" });
    expect(await response.json()).toMatchObject({ text: "" });
    expect(await host.warnings()).toContainEqual(
      expect.objectContaining({ code: "BODY_WITHOUT_LENGTH", subject: "inspect" }),
    );
  });

  test("over the size limit are refused with 413", async () => {
    expect((await post("/api/inspect", "x".repeat(1_000_000))).status).toBe(200);
    expect((await post("/api/inspect", "x".repeat(1_000_001))).status).toBe(413);
  });

  test("with OPTIONS and HEAD reach functions that list them; HEAD has no body", async () => {
    const options = await host.call("/api/inspect", { method: "OPTIONS" });
    expect(options.headers.get("x-method")).toBe("OPTIONS");
    const head = await host.call("/api/inspect", { method: "HEAD" });
    expect([head.status, head.headers.get("x-method"), await head.text()]).toEqual([200, "HEAD", ""]);
  });
});

describe("responses", () => {
  test("carry status, streams and cookies", async () => {
    const teapot = await get("/api/teapot");
    expect([teapot.status, await teapot.text()]).toEqual([418, "short and stout"]);
    expect(await (await get("/api/streamed")).text()).toBe("one two three");
    expect((await get("/api/cookies")).headers.getSetCookie()).toEqual([
      "a=x%20y; max-age=60; path=/; secure; samesite=lax; httponly",
      "b=2; expires=Tue, 01 Jan 2030 00:00:00 GMT; domain=example.org; path=/b",
    ]);
  });

  test("of nothing are 204", async () => {
    expect((await get("/api/nothing")).status).toBe(204);
  });

  test("to failing functions are 500 and tell nothing", async () => {
    const response = await get("/api/failing");
    expect([response.status, await response.text()]).toEqual([500, ""]);
    expect(host.log).toContainEqual(expect.objectContaining({ msg: "secret detail", functionName: "failing" }));
  });

  test("that cannot be sent are 500 without what was set already; connection headers are the host's", async () => {
    const bad = await get("/api/badHeader");
    expect([bad.status, bad.headers.get("x-first"), await bad.text()]).toEqual([500, null, ""]);
    const hops = await get("/api/hops");
    expect([hops.headers.get("connection"), hops.headers.get("x-kept")]).toEqual(["keep-alive", "yes"]);
  });

  test("that take too long are cut", async () => {
    expect((await get("/api/forever")).status).toBe(504);
  });
});

test("hooks run around invocations and may change handler, result and error", async () => {
  const response = await get("/api/hooked");
  expect(await response.json()).toEqual(["appStart", "wrapped", "after before failed"]);
});

test("context.log writes with its level, the function and the invocation; log hooks may change it", async () => {
  await get("/api/logging");
  const lines = host.log.filter(({ functionName }) => functionName === "logging").map(({ level, msg }) => [level, msg]);
  expect(lines).toEqual([
    [10, "a trace"],
    [20, "a debug"],
    [30, "an info 1"],
    [30, "a log { with: 'details' }"],
    [50, "a warning"],
    [50, "an error"],
  ]);
  const ids = host.log.filter(({ functionName }) => functionName === "logging").map(({ invocationId }) => invocationId);
  expect(new Set(ids).size).toBe(1);
});

test("a function that blocks the event loop is warned about", async () => {
  await get("/api/blocking");
  await expect
    .poll(() => host.warnings())
    .toContainEqual(
      expect.objectContaining({ code: "BLOCKED_EVENT_LOOP", subject: expect.stringContaining("blocking") }),
    );
});

test("the host tells its status and its functions", async () => {
  const admin = (path: string): Promise<Response> => get(path, { "x-functions-key": "master-key" });
  expect(await (await admin("/admin/host/status")).json()).toMatchObject({ state: "Running" });
  const functions = (await (await admin("/admin/functions")).json()) as { name: string }[];
  expect(functions.map(({ name }) => name)).toEqual(host.functions);
  expect(await (await admin("/admin/functions/guarded")).json()).toMatchObject({ name: "guarded", language: "node" });
  expect((await admin("/admin/functions/missing")).status).toBe(404);
});

test("a request line that is no URL is refused", async () => {
  const status = await new Promise((resolve, reject) => {
    const outgoing = httpRequest(host.url, { path: "http://[" }, (response) => resolve(response.resume().statusCode));
    outgoing.once("error", reject).end();
  });
  expect(status).toBe(400);
});
