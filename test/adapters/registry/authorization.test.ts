// Bearer tokens by every way a registry may ask for them, redirects that must not see them, and errors without secrets.
import { inspect } from "node:util";
import { afterEach, describe, expect, test } from "vitest";
import type {
  ClosableRegistries,
  RegistryCredentials,
  RegistriesOptions,
} from "../../../src/adapters/registry/index.ts";
import type { Repository } from "../../../src/ports/registry.ts";
import {
  type Script,
  type ScriptedRegistry,
  type SeenRequest,
  startScriptedRegistry,
} from "../../support/scripted-registry.ts";
import { seededBytes } from "../../support/seeded-bytes.ts";
import { collect, createPatientRegistries, describeBytes, failureOf, manifestOf } from "./fixtures.ts";

const content = seededBytes("authorization", 50_000);
const blob = describeBytes(content);
const manifest = manifestOf(blob, []);
const PASSWORD: RegistryCredentials = { type: "basic", username: "ana", password: "s3cret-p4ssword" };

let open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const each of open.toReversed()) await each.close();
  open = [];
});

async function start(script: Script): Promise<ScriptedRegistry> {
  const registry = await startScriptedRegistry(script);
  open.push(registry);
  return registry;
}

function connect(credentials: RegistryCredentials | undefined, options: RegistriesOptions = {}): ClosableRegistries {
  const { registries } = createPatientRegistries({ credentials: async () => credentials, ...options });
  open.push(registries);
  return registries;
}

/** A registry that wants `Bearer good-<n>` of its own token server; `challenge` writes the header. */
async function startBearer(
  challenge: (host: string) => string | string[],
  token: (request: SeenRequest, issued: number) => { status?: number; body: unknown } = (_, issued) => ({
    body: { token: `good-${issued}` },
  }),
): Promise<ScriptedRegistry> {
  let issued = 0;
  return start((request, response) => {
    if (request.path === "/token") {
      const { status = 200, body } = token(request, ++issued);
      response.writeHead(status).end(typeof body === "string" ? body : JSON.stringify(body));
    } else if (request.headers.authorization?.startsWith("Bearer good-") === true) {
      response.end(request.path.includes("/manifests/") ? manifest.bytes : content);
    } else {
      response.writeHead(401, { "www-authenticate": challenge(request.headers.host ?? "") }).end();
    }
  });
}

const standard = (host: string): string =>
  `Bearer realm="http://${host}/token",service="registry.test",scope="repository:team/app:pull"`;
const tokenRequests = ({ seen }: ScriptedRegistry): SeenRequest[] => seen.filter(({ path }) => path === "/token");
const openApp = (registries: ClosableRegistries, { host }: ScriptedRegistry): Repository =>
  registries.open(host, "team/app");

describe("challenges", () => {
  test.each<[string, (host: string) => string | string[]]>([
    ["the usual one", standard],
    [
      "one in lower case with blanks and bare values",
      (host) => `bearer  realm = "http://${host}/token" , service=registry.test`,
    ],
    ["Basic first, Bearer second", (host) => `Basic realm="x, y", ${standard(host)}`],
    ["two headers", (host) => ['Basic realm="registry"', standard(host)]],
    ["a relative realm", () => 'Bearer realm="/token",service="registry.test"'],
    ["no scope and no service", (host) => `Bearer realm="http://${host}/token"`],
  ])("understands %s", async (_, challenge) => {
    const registry = await startBearer(challenge);
    const repository = openApp(connect(PASSWORD), registry);
    expect((await collect(repository.readBlob(blob))).equals(content)).toBe(true);
    const [request] = tokenRequests(registry);
    expect(request?.query.getAll("scope")).toEqual(["repository:team/app:pull"]);
    expect(request?.headers.authorization).toBe(`Basic ${Buffer.from("ana:s3cret-p4ssword").toString("base64")}`);
  });

  test.each(["", "Negotiate", 'Bearer service="x"', 'Bearer realm="http://["', "Basic", '"'])(
    "%j, which it cannot meet, is UNAUTHORIZED",
    async (challenge) => {
      const registry = await start((_, response) => response.writeHead(401, { "www-authenticate": challenge }).end());
      const error = await failureOf(openApp(connect(undefined), registry).getManifest("v1"));
      expect(error.code).toBe("UNAUTHORIZED");
      expect(registry.seen).toHaveLength(1);
    },
  );

  test("sends nothing to a token server over plain http elsewhere", async () => {
    const registry = await startBearer(() => 'Bearer realm="http://tokens.example.com/token"');
    const error = await failureOf(openApp(connect(PASSWORD), registry).getManifest("v1"));
    expect(error).toMatchObject({ code: "UNAUTHORIZED", got: "a token server at http://tokens.example.com" });
  });

  test("Basic is sent once asked for, and a wrong password is not repeated", async () => {
    const registry = await start(({ headers }, response) => {
      if (headers.authorization === undefined) response.writeHead(401, { "www-authenticate": 'Basic realm="r"' }).end();
      else response.writeHead(401, { "www-authenticate": 'Basic realm="r"' }).end("wrong");
    });
    const repository = openApp(connect(PASSWORD), registry);
    expect((await failureOf(repository.getManifest("v1"))).code).toBe("UNAUTHORIZED");
    expect(registry.seen).toHaveLength(2);
  });
});

describe("tokens", () => {
  test("are shared by simultaneous and later requests", async () => {
    const registry = await startBearer(standard);
    const repository = openApp(connect(undefined), registry);
    await Promise.all(Array.from({ length: 10 }, () => collect(repository.readBlob(blob))));
    await Promise.all(Array.from({ length: 10 }, () => repository.getManifest("v1")));
    expect(tokenRequests(registry)).toHaveLength(1);
    expect(tokenRequests(registry)[0]?.headers.authorization).toBeUndefined();
  });

  test.each([
    ["token", "expires_in", 300],
    ["access_token", "expires_in", 300],
    ["access_token", "exp", 300],
    ["token", "nothing", 60],
  ])("in a field %s with %s are renewed thirty seconds before their end", async (field, how, seconds) => {
    let now = 1_000_000_000_000;
    const payload = Buffer.from(JSON.stringify({ exp: now / 1_000 + seconds })).toString("base64url");
    const registry = await startBearer(standard, (_, issued) => ({
      body: {
        [field]: how === "exp" ? `good-${issued}.${payload}.x` : `good-${issued}`,
        ...(how === "expires_in" ? { expires_in: seconds } : {}),
      },
    }));
    const repository = openApp(connect(undefined, { retry: { now: () => now } }), registry);
    await repository.getManifest("v1");
    now += (seconds - 31) * 1_000;
    await repository.getManifest("v1");
    expect(tokenRequests(registry)).toHaveLength(1);
    now += 2_000;
    await repository.getManifest("v1");
    expect(tokenRequests(registry)).toHaveLength(2);
    expect(
      registry.seen.filter(({ path, headers }) => path !== "/token" && headers.authorization === undefined),
    ).toHaveLength(1);
  });

  test("that were revoked are fetched again", async () => {
    let revoked = false;
    const registry = await start(({ path, headers, nth }, response) => {
      if (path === "/token") response.end(JSON.stringify({ token: `t${nth}`, expires_in: 3_600 }));
      else if (headers.authorization === (revoked ? "Bearer t2" : "Bearer t1")) response.end(manifest.bytes);
      else response.writeHead(401, { "www-authenticate": standard(headers.host ?? "") }).end();
    });
    const repository = openApp(connect(undefined), registry);
    await repository.getManifest("v1");
    revoked = true;
    await repository.getManifest("v1");
    expect(tokenRequests(registry)).toHaveLength(2);
  });

  test("are asked for with the scope a registry demands besides ours, from then on", async () => {
    const registry = await start(({ path, query, headers }, response) => {
      if (path === "/token")
        response.end(JSON.stringify({ token: query.getAll("scope").join(" "), expires_in: 3_600 }));
      else if (headers.authorization?.includes("metadata_read") === true) response.end('{"tags":["a"]}');
      else {
        const scope = "repository:team/app:metadata_read";
        const challenge = `Bearer realm="/token",service="s",scope="${scope}",error="insufficient_scope"`;
        response.writeHead(401, { "www-authenticate": challenge }).end();
      }
    });
    const repository = openApp(connect(undefined), registry);
    for (let round = 0; round < 3; round++) {
      const tags: string[] = [];
      for await (const tag of repository.listTags()) tags.push(tag);
      expect(tags).toEqual(["a"]);
    }
    expect(tokenRequests(registry).map(({ query }) => query.get("scope"))).toEqual([
      "repository:team/app:metadata_read,pull",
    ]);
    expect(registry.seen).toHaveLength(5);
  });

  test("for a mount cover both repositories", async () => {
    const registry = await startBearer((host) => `Bearer realm="http://${host}/token"`);
    await openApp(connect(undefined), registry)
      .mountBlob(blob.digest, "team/source")
      .catch(() => {});
    expect(tokenRequests(registry)[0]?.query.getAll("scope")).toEqual([
      "repository:team/app:pull,push",
      "repository:team/source:pull",
    ]);
  });

  test("are asked for by POST where the server has no GET", async () => {
    const registry = await startBearer(standard, ({ method }) =>
      method === "GET" ? { status: 405, body: "" } : { body: { access_token: "good-post" } },
    );
    await openApp(connect(PASSWORD), registry).getManifest("v1");
    const form = new URLSearchParams(tokenRequests(registry)[1]?.body.toString());
    expect(Object.fromEntries(form)).toMatchObject({
      grant_type: "password",
      username: "ana",
      password: "s3cret-p4ssword",
      service: "registry.test",
      scope: "repository:team/app:pull",
    });
  });

  test("are asked for with an identity token by POST", async () => {
    const registry = await startBearer(standard, () => ({ body: { access_token: "good-refreshed" } }));
    await openApp(connect({ type: "refresh-token", token: "identity" }), registry).getManifest("v1");
    const [request] = tokenRequests(registry);
    expect(request?.method).toBe("POST");
    expect(Object.fromEntries(new URLSearchParams(request?.body.toString()))).toMatchObject({
      grant_type: "refresh_token",
      refresh_token: "identity",
      scope: "repository:team/app:pull",
    });
  });

  test.each<[string, { status?: number; body: unknown }, string]>([
    ["refuses", { status: 401, body: "no" }, "UNAUTHORIZED"],
    ["forbids", { status: 403, body: { details: "no" } }, "UNAUTHORIZED"],
    ["answers with a page", { body: "<html>login</html>" }, "UNEXPECTED_RESPONSE"],
    ["answers with nothing", { body: {} }, "UNEXPECTED_RESPONSE"],
    ["answers with null", { body: "null" }, "UNEXPECTED_RESPONSE"],
    ["is down", { status: 503, body: "" }, "UNREACHABLE"],
    ["throttles", { status: 429, body: "" }, "TOO_MANY_REQUESTS"],
  ])("of a server that %s are an error of its own", async (_, answer, code) => {
    const registry = await startBearer(standard, () => answer);
    const error = await failureOf(openApp(connect(PASSWORD), registry).getManifest("v1"));
    expect(error.code).toBe(code);
    expect(tokenRequests(registry)).toHaveLength(error.retryable ? 5 : 1);
  });
});

describe("an Entra identity", () => {
  const entra = (
    registry: ScriptedRegistry,
    getToken: () => Promise<null | { token: string; expiresOnTimestamp: number }>,
  ) => connect(undefined, { kinds: { [registry.host]: "acr" }, tokenCredential: async () => ({ getToken }) });

  test("does not show its token to a token server that is not the registry", async () => {
    const registry = await start((_, response) =>
      response
        .writeHead(401, { "www-authenticate": 'Bearer realm="https://evil.example.com/token",service="s"' })
        .end(),
    );
    const registries = entra(registry, async () => ({ token: "entra-secret", expiresOnTimestamp: 4e12 }));
    const error = await failureOf(collect(openApp(registries, registry).readBlob(blob)));
    expect(error).toMatchObject({
      code: "UNAUTHORIZED",
      got: "a token server at evil.example.com",
      want: registry.host,
    });
  });

  test("that cannot be proved is UNAUTHORIZED, for blobs and for manifests", async () => {
    const scope = "repository:team/app:pull";
    const registry = await startBearer(
      (host) => `Bearer realm="http://${host}/oauth2/token",service="s",scope="${scope}"`,
    );
    const none = openApp(
      entra(registry, async () => null),
      registry,
    );
    const failing = openApp(
      entra(registry, () => Promise.reject(new Error("no identity here"))),
      registry,
    );
    for (const [repository, got] of [
      [none, "no token"],
      [failing, "no identity here"],
    ] as const) {
      const wanted = { code: "UNAUTHORIZED", got, retryable: false };
      expect(await failureOf(collect(repository.readBlob(blob)))).toMatchObject(wanted);
      expect(await failureOf(repository.getManifest("v1"))).toMatchObject(wanted);
    }
    expect(tokenRequests(registry)).toHaveLength(0);
  });
});

describe("redirects", () => {
  test("take a blob to its storage without the token, and a range with them", async () => {
    const storage = await start(({ nth, headers }, response) => {
      const from = headers.range === undefined ? 0 : Number(headers.range.slice(6, -1));
      response.writeHead(from === 0 ? 200 : 206, {
        "content-length": content.length - from,
        "content-range": `bytes ${from}-${content.length - 1}/${content.length}`,
      });
      response.write(content.subarray(from, nth === 1 ? 20_000 : undefined), () =>
        nth === 1 ? response.destroy() : response.end(),
      );
    });
    const registry = await start(({ path, headers }, response) => {
      if (path === "/token") response.end('{"token":"secret-token"}');
      else if (headers.authorization === undefined) {
        response.writeHead(401, { "www-authenticate": 'Bearer realm="/token"' }).end();
      } else response.writeHead(307, { location: `http://${storage.host}/store/blob?sig=abc` }).end();
    });
    const read = await collect(openApp(connect(PASSWORD), registry).readBlob(blob));
    expect(read.equals(content)).toBe(true);
    expect(storage.seen).toHaveLength(2);
    expect(storage.seen.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined]);
    expect(storage.seen[1]?.headers.range).toMatch(/^bytes=\d+-$/);
  });
});

test("a storage host cannot ask for the registry's credentials", async () => {
  const storage = await start(({ headers }, response) =>
    response.writeHead(401, { "www-authenticate": standard(headers.host ?? "") }).end(),
  );
  const registry = await start((_, response) =>
    response.writeHead(307, { location: `http://${storage.host}/store/blob` }).end(),
  );
  const error = await failureOf(collect(openApp(connect(PASSWORD), registry).readBlob(blob)));
  expect(error.code).toBe("UNAUTHORIZED");
  expect(storage.seen.map(({ path }) => path)).toEqual(["/store/blob"]);
});

test("no error shows a password or a token, however it is printed", async () => {
  const secrets = [
    "s3cret-p4ssword",
    Buffer.from("ana:s3cret-p4ssword").toString("base64"),
    "good-1",
    "refresh-secret",
  ];
  const shown: string[] = [];
  const record = (error: unknown): void => {
    shown.push(inspect(error, { depth: 10, showHidden: true }), JSON.stringify(error), String(error));
  };
  for (const credentials of [PASSWORD, { type: "refresh-token", token: "refresh-secret" } as const]) {
    for (const status of [400, 401, 403, 404, 429, 500]) {
      const broken = await startBearer(standard, () => ({ status, body: "s3cret-p4ssword refresh-secret" }));
      record(await failureOf(openApp(connect(credentials), broken).getManifest("v1")));
      const registry = await start(({ path, headers }, response) => {
        if (path === "/token") response.end('{"token":"good-1"}');
        else if (headers.authorization !== undefined) response.writeHead(status).end();
        else response.writeHead(401, { "www-authenticate": 'Bearer realm="/token"' }).end();
      });
      record(await failureOf(openApp(connect(credentials), registry).getManifest("v1")));
    }
  }
  const jwt = `x.${Buffer.from('{"exp":4000000000}').toString("base64url")}.refresh-secret`;
  for (const [where, status] of [
    ["exchange", 401],
    ["exchange", 500],
    ["token", 401],
    ["token", 500],
    ["manifest", 403],
    ["manifest", 500],
  ] as const) {
    const acr = await start(({ path, headers }, response) => {
      const scope = "repository:team/app:pull";
      const challenge = `Bearer realm="http://${headers.host}/oauth2/token",service="s",scope="${scope}"`;
      if (path.endsWith(where)) response.writeHead(status).end("good-1 refresh-secret");
      else if (path === "/oauth2/exchange") response.end(JSON.stringify({ refresh_token: jwt }));
      else if (path === "/oauth2/token") response.end('{"access_token":"good-1"}');
      else if (headers.authorization === undefined) response.writeHead(401, { "www-authenticate": challenge }).end();
      else response.writeHead(status).end();
    });
    const getToken = async () => ({ token: "s3cret-p4ssword", expiresOnTimestamp: 4e12 });
    const options = { kinds: { [acr.host]: "acr" }, tokenCredential: async () => ({ getToken }) } as const;
    const repository = openApp(connect(undefined, options), acr);
    record(await failureOf(repository.getManifest("v1")));
    record(await failureOf(collect(repository.readBlob(blob))));
  }
  const dropping = await start(({ headers }, response) => {
    if (headers.authorization !== undefined) response.socket?.resetAndDestroy();
    else response.writeHead(401, { "www-authenticate": "Basic" }).end();
  });
  record(await failureOf(openApp(connect(PASSWORD), dropping).getManifest("v1")));
  expect(shown.length).toBeGreaterThan(100);
  for (const text of shown) for (const secret of secrets) expect(text).not.toContain(secret);
});
