// The HTTP API as others meet it: keys, bodies, problem details, pages, and capturing what devices run.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CALM_BEHAVIOUR } from "../../local/edge-device/accounted-behaviour.ts";
import type { ReleaseView } from "../../src/core/release/view.ts";
import { createHubOperator, type HubOperator } from "../support/hub-operator.ts";
import { createProductLine } from "../support/product-line.ts";
import { createStackFixture, type StackFixture } from "../support/stack-fixture.ts";

const RULES = {
  rings: [{ name: "all", slots: "00-99" }],
  gate: { successPercent: 90, failurePercent: 10, bakeMinutes: 5, timeoutMinutes: 1_440 },
};

let fixture: StackFixture;
let operator: HubOperator;

beforeAll(async () => {
  fixture = await createStackFixture({ products: { many: RULES, layered: RULES, whole: RULES, bare: RULES } });
  fixture.addFleet(10, CALM_BEHAVIOUR);
  operator = createHubOperator(fixture.stack.hub.connectionString);
});

afterAll(async () => {
  await fixture?.close();
});

interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
}

interface Reply {
  readonly status: number;
  readonly contentType: string | null;
  readonly text: string;
}

/** A call with exactly these headers. */
async function send(
  method: string,
  path: string,
  body?: string | Uint8Array,
  key = fixture.stack.host.key,
): Promise<Reply> {
  const response = await fetch(`${fixture.stack.host.url}/api/${path}`, {
    method,
    headers: { "content-type": "application/json", ...(key === "" ? {} : { "x-functions-key": key }) },
    ...(body === undefined ? {} : { body }),
  });
  return { status: response.status, contentType: response.headers.get("content-type"), text: await response.text() };
}

function problemIn(reply: Reply): Problem {
  expect(reply.contentType).toMatch(/^application\/problem\+json/);
  const problem = JSON.parse(reply.text) as Problem;
  expect(problem).toEqual({
    type: expect.any(String),
    title: expect.any(String),
    status: reply.status,
    detail: expect.stringMatching(/.{10}/),
  });
  return problem;
}

describe.concurrent.each(["hooks/acr", "hooks/registry"])("%s", (hook) => {
  test.each([
    ["an array", "[]"],
    ["an object of another kind", '{"hello":"world"}'],
    ["a truncated body", '{"id":"1","action":"pu'],
    ["no body", ""],
    ["a number", "7"],
    ["bytes that are no text", new Uint8Array([0xff, 0xfe, 0x00, 0x80])],
    [
      "a digest that is none",
      JSON.stringify({ id: "1", action: "push", target: { digest: "sha256:12" }, events: [7] }),
    ],
    ["a timestamp that is none", JSON.stringify({ id: "1", action: "push", timestamp: "soon", events: "none" })],
  ])("answers %s with problem details", async (_what, body) => {
    const reply = await send("POST", hook, body);
    expect(reply.status).toBe(400);
    expect(problemIn(reply).title).toBe("HOOK_MALFORMED");
  });

  test("lets nobody in without the right key", async () => {
    expect((await send("POST", hook, "{}", "")).status).toBe(401);
    expect((await send("POST", hook, "{}", "bm90IHRoZSBrZXk=")).status).toBe(401);
  });

  test("is there for POST alone", async () => {
    expect([404, 405]).toContain((await send("GET", hook)).status);
  });

  test("refuses a body that is too large", async () => {
    const huge = JSON.stringify({ id: "x".repeat(2 * 1024 * 1024), action: "ping", events: [] });
    const reply = await send("POST", hook, huge);
    expect(reply.status).toBe(413);
    expect(problemIn(reply).title).toBe("BODY_TOO_LARGE");
  });
});

test("a registry's ping is taken and comes to nothing", async () => {
  expect(await fixture.stack.registry.webhooks.ping("lighter")).toMatchObject({ status: 202 });
  const ping = { id: "1", timestamp: "2026-01-01T00:00:00Z", action: "ping" };
  expect(await fixture.stack.call("POST", "hooks/acr", ping)).toEqual({
    status: 202,
    body: { outcomes: [], skipped: 1 },
  });
});

describe("releases", () => {
  test("are listed newest first, page by page, each once", async () => {
    const line = createProductLine(fixture, "many");
    // Nothing is known to go back to, so each is refused at once.
    for (let version = 0; version < 26; version++) await line.push(await fixture.build(version), String(version));
    await fixture.until("26 releases that are over", async () => {
      const releases = await line.releases();
      return releases.length === 26 && releases.every(({ finishedAt }) => finishedAt !== undefined) ? true : undefined;
    });
    const seen: ReleaseView[] = [];
    let continuation: string | undefined;
    let pages = 0;
    do {
      const query = continuation === undefined ? "" : `&continuation=${encodeURIComponent(continuation)}`;
      const { status, body } = await fixture.stack.call("GET", `releases?limit=10${query}`);
      expect(status).toBe(200);
      const page = body as { releases: ReleaseView[]; continuation?: string };
      expect(page.releases.length).toBeLessThanOrEqual(10);
      seen.push(...page.releases);
      continuation = page.continuation;
      pages++;
    } while (continuation !== undefined && pages < 10);
    expect(pages).toBe(3);
    expect(new Set(seen.map(({ id }) => id)).size).toBe(26);
    const times = seen.map(({ acceptedAt }) => acceptedAt);
    expect(times).toEqual(times.toSorted().toReversed());
    for (const { state, reason } of seen) {
      expect(state).toBe("refused");
      expect(reason).toContain("lighter baseline many");
    }
  });

  test.each(["0", "101", "-1", "1.5", "ten", ""])("are not listed by a limit of '%s'", async (limit) => {
    const reply = await send("GET", `releases?limit=${limit}`);
    expect(reply.status).toBe(400);
    expect(problemIn(reply).title).toBe("REQUEST_MALFORMED");
  });

  test("are not listed from a place that no list gave", async () => {
    for (const place of ["nowhere", "%"]) {
      const reply = await send("GET", `releases?continuation=${encodeURIComponent(place)}`);
      expect(reply.status).toBe(400);
      expect(problemIn(reply).title).toBe("CONTINUATION_INVALID");
    }
  });

  test.each(["releases/nobody", "releases/many-000000000000-1", "releases/many-000000000000-9%2F..", "releases/%00'"])(
    "that do not exist are not found: %s",
    async (path) => {
      const reply = await send("GET", path);
      expect(reply.status).toBe(404);
      expect(problemIn(reply).title).toBe("RELEASE_UNKNOWN");
    },
  );

  test.each([
    ["that is not JSON", "{"],
    ["without an image", "{}"],
    ["with fields that nobody knows", '{"image":"a/b:1","force":true}'],
    ["whose image is no reference", '{"image":"::"}'],
  ])("are not opened by a body %s", async (_what, body) => {
    const reply = await send("POST", "releases", body);
    expect(reply.status).toBe(400);
    problemIn(reply);
  });

  test("of a repository that is no product's are ignored with the reason", async () => {
    const image = `${fixture.stack.registry.host}/team/nobody:1`;
    expect(await fixture.stack.call("POST", "releases", { image })).toMatchObject({
      status: 200,
      body: { outcome: "ignored", reason: expect.stringContaining("no product has repository") },
    });
  });

  test("are for holders of a key", async () => {
    for (const [method, path] of [
      ["GET", "releases"],
      ["GET", "releases/x"],
      ["POST", "releases"],
      ["POST", "releases/x/abort"],
      ["POST", "products/many/baseline"],
    ] as const) {
      expect((await send(method, path, method === "POST" ? "{}" : undefined, "")).status).toBe(401);
    }
    expect((await send("GET", "health", undefined, "")).status).toBe(200);
  });
});

describe("capturing what devices run", () => {
  const moduleOf = (image: string): object => ({
    type: "docker",
    status: "running",
    restartPolicy: "always",
    settings: { image, createOptions: "{}" },
  });

  test("finds it in a layered deployment, pins its image, and rebases the next push onto it", async () => {
    const line = createProductLine(fixture, "layered");
    fixture.stack.registry.webhooks.remove("lighter");
    const image = await fixture.build(100);
    await line.push(image, "by-hand");
    await operator.put({
      id: "by-hand",
      schemaVersion: "1.0",
      priority: 5,
      targetCondition: "*",
      labels: {},
      content: {
        modulesContent: { $edgeAgent: { "properties.desired.modules.layered": moduleOf(`${line.at}:by-hand`) } },
      },
    });
    const { status, body } = await fixture.stack.call("POST", "products/layered/baseline");
    expect(status).toBe(200);
    expect(body).toMatchObject([
      { hub: "main", baseline: { kind: "module", from: "by-hand" }, anchor: `${line.at}:by-hand@${image.digest}` },
    ]);
    await line.push(await fixture.build(101), "2");
    expect(await line.open(":2")).toMatchObject({ outcome: "opened" });
    expect(await line.finished("2")).toMatchObject({
      state: "completed",
      anchor: `${line.at}:by-hand@${image.digest}`,
      image: { mode: "rebased" },
    });
  });

  test("finds it in a full manifest", async () => {
    const line = createProductLine(fixture, "whole");
    const image = await fixture.build(110);
    await line.push(image, "by-hand");
    const base = (await operator.configurations()).find(({ id }) => id === "base");
    const modules = base?.content?.modulesContent as unknown as Record<string, Record<string, Record<string, unknown>>>;
    await operator.put({
      id: "full",
      schemaVersion: "1.0",
      priority: 2,
      targetCondition: "deviceId='nobody'",
      labels: {},
      content: {
        modulesContent: {
          ...modules,
          $edgeAgent: {
            "properties.desired": {
              ...modules["$edgeAgent"]?.["properties.desired"],
              modules: { whole: moduleOf(`${line.at}@${image.digest}`) },
            },
          },
        },
      },
    });
    expect(await fixture.stack.call("POST", "products/whole/baseline")).toMatchObject({
      status: 200,
      body: [{ baseline: { from: "full" }, anchor: `${line.at}@${image.digest}` }],
    });
  });

  test("says where there is nothing to capture, and of what it knows no product", async () => {
    const missing = await send("POST", "products/bare/baseline", "");
    expect(missing.status).toBe(404);
    expect(problemIn(missing)).toMatchObject({
      title: "BASELINE_NOT_FOUND",
      detail: expect.stringContaining("absent"),
    });
    const unknown = await send("POST", "products/nobody/baseline", "{}");
    expect(unknown.status).toBe(404);
    expect(problemIn(unknown)).toMatchObject({ title: "PRODUCT_UNKNOWN", detail: expect.stringContaining("many") });
    const malformed = await send("POST", "products/bare/baseline", '{"absent":"yes"}');
    expect(malformed.status).toBe(400);
    problemIn(malformed);
  });
});
