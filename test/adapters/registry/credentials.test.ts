// Credentials from docker's config file and from real helper programs.
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createDockerCredentials } from "../../../src/adapters/registry/credentials.ts";
import { failureOf } from "./fixtures.ts";

let folder: string;
const path = process.env["PATH"] ?? "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lighter-docker-config-"));
});
afterEach(() => {
  process.env["PATH"] = path;
  delete process.env["DOCKER_CONFIG"];
  rmSync(folder, { recursive: true, force: true });
});

const base64 = (text: string): string => Buffer.from(text).toString("base64");
const find = (config: unknown, registry: string): ReturnType<ReturnType<typeof createDockerCredentials>> => {
  writeFileSync(join(folder, "config.json"), typeof config === "string" ? config : JSON.stringify(config));
  return createDockerCredentials(folder)(registry);
};

/** Puts a helper program on PATH that answers `get` by a shell script. */
function installHelper(name: string, script: string): void {
  const bin = join(folder, "bin");
  mkdirSync(bin, { recursive: true });
  writeFileSync(join(bin, `docker-credential-${name}`), `#!/bin/sh\nset -e\ntest "$1" = get\n${script}\n`);
  chmodSync(join(bin, `docker-credential-${name}`), 0o755);
  process.env["PATH"] = `${bin}${delimiter}${path}`;
}

test("no config, no entry and an empty entry are no credentials", async () => {
  expect(await createDockerCredentials(join(folder, "missing"))("a.example")).toBeUndefined();
  expect(await find({}, "a.example")).toBeUndefined();
  expect(await find({ auths: { "b.example": { auth: base64("a:b") } } }, "a.example")).toBeUndefined();
  expect(await find({ auths: { "a.example": {} } }, "a.example")).toBeUndefined();
});

test.each(["a.example", "https://a.example", "https://a.example/v1/", "http://a.example/v2/"])(
  "an entry under %s is found; its password may hold colons",
  async (key) => {
    const found = await find({ auths: { [key]: { auth: base64("ana:pa:ss") } } }, "a.example");
    expect(found).toEqual({ type: "basic", username: "ana", password: "pa:ss" });
  },
);

test("a port is part of the name, and plain fields do too", async () => {
  const config = { auths: { "127.0.0.1:5000": { username: "ana", password: "pass" } } };
  expect(await find(config, "127.0.0.1:5000")).toEqual({ type: "basic", username: "ana", password: "pass" });
  expect(await find(config, "127.0.0.1:5001")).toBeUndefined();
});

test("Docker Hub's entry is found under its old address", async () => {
  const config = { auths: { "https://index.docker.io/v1/": { auth: base64("ana:hub") } } };
  expect(await find(config, "docker.io")).toEqual({ type: "basic", username: "ana", password: "hub" });
});

test("an identity token, no user name and the all-zero one mean a refresh token", async () => {
  const zero = "00000000-0000-0000-0000-000000000000";
  const token = { type: "refresh-token", token: "t" };
  expect(await find({ auths: { a: { auth: base64(`${zero}:x`), identitytoken: "t" } } }, "a")).toEqual(token);
  expect(await find({ auths: { a: { auth: base64(`${zero}:t`) } } }, "a")).toEqual(token);
  expect(await find({ auths: { a: { auth: base64(":t") } } }, "a")).toEqual(token);
});

test("a host's helper is asked before the default store, and the store before the file", async () => {
  installHelper("one", `server=$(cat); echo "{\\"Username\\":\\"one\\",\\"Secret\\":\\"for $server\\"}"`);
  installHelper("two", `cat >/dev/null; echo '{"Username":"<token>","Secret":"identity"}'`);
  const config = { auths: { c: { auth: base64("c:c") } }, credHelpers: { "a.example": "one" }, credsStore: "two" };
  expect(await find(config, "a.example")).toEqual({ type: "basic", username: "one", password: "for a.example" });
  expect(await find(config, "b.example")).toEqual({ type: "refresh-token", token: "identity" });
});

test("a helper that knows nothing leaves it to the file", async () => {
  installHelper("none", `echo "credentials not found in native keychain"; exit 1`);
  const config = { auths: { "a.example": { auth: base64("ana:file") } }, credsStore: "none" };
  expect(await find(config, "a.example")).toEqual({ type: "basic", username: "ana", password: "file" });
});

test("a helper that is missing, fails or talks nonsense is UNAUTHORIZED, without its output", async () => {
  installHelper("fails", `echo "secret-output"; exit 3`);
  installHelper("nonsense", `echo "secret-output"`);
  for (const [helper, got] of [
    ["fails", "docker-credential-fails ended with 3"],
    ["nonsense", "an unreadable answer of docker-credential-nonsense"],
    ["not-installed", "docker-credential-not-installed ended with ENOENT"],
    ["../evil", "a helper that is not a plain name"],
  ]) {
    const error = await failureOf(find({ credsStore: helper }, "a.example"));
    expect(error).toMatchObject({ code: "UNAUTHORIZED", got, subject: "a.example" });
    expect(error.message).not.toContain("secret-output");
  }
});

test("a config that is not one is UNAUTHORIZED, without its text", async () => {
  for (const text of ['{"auths": {"a": {"auth": "c2VjcmV0"}}', '{"auths": "c2VjcmV0"}', "[]"]) {
    const error = await failureOf(find(text, "a"));
    expect(error.code).toBe("UNAUTHORIZED");
    expect(error.message).not.toContain("c2VjcmV0");
  }
});

test("DOCKER_CONFIG names the folder", async () => {
  writeFileSync(join(folder, "config.json"), JSON.stringify({ auths: { a: { auth: base64("env:pass") } } }));
  process.env["DOCKER_CONFIG"] = folder;
  expect(await createDockerCredentials()("a")).toEqual({ type: "basic", username: "env", password: "pass" });
});
