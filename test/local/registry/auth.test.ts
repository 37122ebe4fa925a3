// Who may do what: Basic, Docker's token protocol, scope maps, and tokens that are not what they say.
import { expect, test } from "vitest";
import type { AuthOptions } from "../../../local/registry/auth.ts";
import { errorCodes, pushBlob, pushImage, seededBytes, startRegistry } from "./support.ts";

const USERS: AuthOptions["users"] = [
  { name: "admin", password: "pass:word" },
  { name: "device", password: "d", grants: [{ repository: "team/app", actions: ["pull"] }] },
];
const basic = (name: string, password: string): { Authorization: string } => ({
  Authorization: `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}`,
});
const layer = seededBytes(10, 100);

test("with Basic, a request without or with wrong credentials is challenged", async () => {
  const { url, host } = await startRegistry({ auth: { challenge: "basic", users: USERS } });
  for (const headers of [{}, basic("admin", "wrong"), { Authorization: "Bearer x.y.z" }]) {
    const response = await fetch(`${url}/v2/`, { headers });
    expect([response.status, response.headers.get("www-authenticate")]).toEqual([401, `Basic realm="${host}"`]);
    expect(await errorCodes(response)).toEqual(["UNAUTHORIZED"]);
  }
  expect((await fetch(`${url}/v2/`, { headers: basic("admin", "pass:word") })).status).toBe(200);
});

test("with Basic, a user with a scope map reads its repository and is denied the rest", async () => {
  const { url } = await startRegistry({ auth: { challenge: "basic", users: USERS } });
  const digest = await pushBlob(url, "team/app", layer, basic("admin", "pass:word"));
  const device = basic("device", "d");
  const status = async (path: string, method = "GET"): Promise<number> =>
    (await fetch(url + path, { method, headers: device })).status;
  expect(await status("/v2/")).toBe(200);
  expect(await status(`/v2/team/app/blobs/${digest}`)).toBe(200);
  expect(await status(`/v2/team/app/blobs/${digest}`, "DELETE")).toBe(403);
  expect(await status("/v2/team/app/blobs/uploads/", "POST")).toBe(403);
  expect(await status("/v2/team/app2/tags/list")).toBe(403);
  expect(await status("/v2/_catalog")).toBe(403);
});

test("a blob of a repository one may not read is not mounted", async () => {
  const users = [
    { name: "admin", password: "a" },
    { name: "team", password: "t", grants: [{ repository: "team/*", actions: ["pull", "push"] as const }] },
  ];
  const { url } = await startRegistry({ auth: { challenge: "basic", users } });
  const digest = await pushBlob(url, "secret/app", layer, basic("admin", "a"));
  const mount = async (name: string, password: string): Promise<number> => {
    const path = `/v2/team/app/blobs/uploads/?mount=${digest}&from=secret/app`;
    return (await fetch(url + path, { method: "POST", headers: basic(name, password) })).status;
  };
  expect(await mount("team", "t")).toBe(202);
  expect(await mount("admin", "a")).toBe(201);
});

test("with Bearer, the challenge names realm, service and scope, also through another listener", async () => {
  const registry = await startRegistry({ auth: { challenge: "bearer", users: USERS } });
  const url = await registry.endpoint("device-1");
  const response = await fetch(`${url}/v2/team/app/blobs/uploads/`, { method: "POST" });
  expect(response.status).toBe(401);
  expect(response.headers.get("www-authenticate")).toBe(
    `Bearer realm="${url}/oauth2/token",service="${registry.host}",scope="repository:team/app:pull,push"`,
  );
  const ping = await fetch(`${url}/v2/`);
  expect(ping.headers.get("www-authenticate")).toBe(`Bearer realm="${url}/oauth2/token",service="${registry.host}"`);
  const catalog = await fetch(`${url}/v2/_catalog`);
  expect(catalog.headers.get("www-authenticate")).toContain('scope="registry:catalog:*"');
});

/** Asks for an access token and returns what the endpoint answers. */
async function askToken(
  url: string,
  form: Record<string, string>,
): Promise<{ status: number; body: Record<string, string> }> {
  const response = await fetch(`${url}/oauth2/token`, { method: "POST", body: new URLSearchParams(form) });
  return { status: response.status, body: (await response.json()) as Record<string, string> };
}
const claimsOf = (token: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as Record<string, unknown>;

test("a docker client gets its token by GET with Basic, limited to what its scope map allows", async () => {
  const { url, host } = await startRegistry({ auth: { challenge: "bearer", users: USERS } });
  const query = `service=${host}&scope=repository:team/app:pull,push&scope=repository:other:pull`;
  const response = await fetch(`${url}/oauth2/token?${query}`, { headers: basic("device", "d") });
  const { access_token: token = "" } = (await response.json()) as Record<string, string>;
  expect(claimsOf(token)).toMatchObject({
    sub: "device",
    aud: host,
    grant_type: "access_token",
    access: [{ type: "repository", name: "team/app", actions: ["pull"] }],
  });
  const headers = { Authorization: `Bearer ${token}` };
  expect((await fetch(`${url}/v2/`, { headers })).status).toBe(200);
  expect((await fetch(`${url}/v2/team/app/manifests/1`, { headers })).status).toBe(404);
  const push = await fetch(`${url}/v2/team/app/blobs/uploads/`, { method: "POST", headers });
  expect(push.status).toBe(401);
  expect(push.headers.get("www-authenticate")).toContain('error="insufficient_scope"');
  expect((await fetch(`${url}/oauth2/token?${query}`, { headers: basic("device", "x") })).status).toBe(401);
  expect((await fetch(`${url}/oauth2/token?${query}`)).status).toBe(401);
});

test("password and refresh grants give tokens; a refresh token also serves as a password", async () => {
  const { url, host } = await startRegistry({ auth: { challenge: "bearer", users: USERS } });
  const scope = "repository:team/app:pull";
  const form = {
    service: host,
    scope,
    grant_type: "password",
    username: "device",
    password: "d",
    access_type: "offline",
  };
  const { body } = await askToken(url, form);
  const refresh = body["refresh_token"] ?? "";
  expect(claimsOf(refresh)).toMatchObject({ grant_type: "refresh_token", exp: expect.any(Number) });
  const again = await askToken(url, { service: host, scope, grant_type: "refresh_token", refresh_token: refresh });
  expect(claimsOf(again.body["access_token"] ?? "")["sub"]).toBe("device");
  const token = await fetch(`${url}/oauth2/token?service=${host}&scope=${scope}`, {
    headers: basic("00000000-0000-0000-0000-000000000000", refresh),
  });
  expect(token.status).toBe(200);
  const asBearer = await fetch(`${url}/v2/`, { headers: { Authorization: `Bearer ${refresh}` } });
  expect(asBearer.status).toBe(401);
});

test.each([
  ["a wrong password", { grant_type: "password", username: "device", password: "x" }, 401],
  ["nobody", { grant_type: "password" }, 401],
  ["a refresh token of somebody else's making", { grant_type: "refresh_token", refresh_token: "e30.e30.AAAA" }, 401],
  ["another service", { grant_type: "password", username: "admin", password: "pass:word", service: "other" }, 401],
  ["an unknown grant", { grant_type: "device_code" }, 400],
])("no token for %s", async (_what, form, status) => {
  const { url, host } = await startRegistry({ auth: { challenge: "bearer", users: USERS } });
  expect((await askToken(url, { service: host, ...form })).status).toBe(status);
});

test("a token that was altered is refused as invalid", async () => {
  const { url, host } = await startRegistry({ auth: { challenge: "bearer", users: USERS } });
  const form = {
    service: host,
    scope: "repository:team/app:pull",
    grant_type: "password",
    username: "device",
    password: "d",
  };
  const { body } = await askToken(url, form);
  const [header, , signature] = (body["access_token"] ?? "").split(".");
  const claims = {
    ...claimsOf(body["access_token"] ?? ""),
    access: [{ type: "repository", name: "other", actions: ["pull"] }],
  };
  const forged = `${header}.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.${signature}`;
  const response = await fetch(`${url}/v2/other/tags/list`, { headers: { Authorization: `Bearer ${forged}` } });
  expect(response.status).toBe(401);
  expect(response.headers.get("www-authenticate")).toContain('error="invalid_token"');
});

test("Azure's registry takes Basic on its data plane too", async () => {
  const { url } = await startRegistry({ auth: { challenge: "bearer", users: USERS } });
  const headers = basic("admin", "pass:word");
  await pushBlob(url, "team/app", layer, headers);
  expect((await fetch(`${url}/v2/_catalog`, { headers })).status).toBe(200);
});

test("without any auth, everybody may do everything", async () => {
  const { url } = await startRegistry();
  await pushImage(url, "team/app", "1", layer);
  expect((await fetch(`${url}/v2/_catalog`, { headers: basic("any", "body") })).status).toBe(200);
});
