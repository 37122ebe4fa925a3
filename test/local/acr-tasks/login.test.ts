// What runs get to log in with, at a registry that asks for it: refresh tokens by identity, in docker's config.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { missingTools } from "../../support/tools.ts";
import { packSource, uploadSource } from "./build-fixture.ts";
import { call, LINUX, readLog, schedule, taskRequest, useGround, waitFor } from "./support.ts";

const ground = useGround({
  auth: {
    challenge: "bearer",
    identities: [
      { name: "default", accessToken: "entra-default" },
      { name: "caller", accessToken: "entra-caller", grants: [{ repository: "team/*", actions: ["pull", "push"] }] },
    ],
  },
});
const identities = { "[default]": "entra-default", "[caller]": "entra-caller" };
const SHOW = "process.stdout.write(require('node:fs').readFileSync(process.env.HOME + '/.docker/config.json'))";
const COPY = `require('node:fs').copyFileSync(process.env.HOME + '/.docker/config.json', process.argv[1])`;
const commands = { show: [process.execPath, "-e", SHOW], copy: [process.execPath, "-e", COPY, "--"] } as const;

interface DockerConfig {
  readonly auths: Readonly<Record<string, { readonly auth: string }>>;
}

/** Who a docker config says one is at the registry: user name and password. */
function readLogin(file: string, registry: string): [string, string] | undefined {
  const { auths } = JSON.parse(readFileSync(file, "utf8")) as DockerConfig;
  const auth = auths[registry]?.auth;
  return auth === undefined ? undefined : (Buffer.from(auth, "base64").toString().split(":", 2) as [string, string]);
}

test("a step gets a refresh token that opens the registry, and the log does not", async () => {
  const { folder, registry } = ground();
  const service = await ground().start({ identities, commands });
  const file = join(folder, "config.json");
  const runId = await schedule(service, taskRequest(`steps: [{cmd: $Registry/copy ${file}}, {cmd: $Registry/show}]`));
  expect((await waitFor(service, runId)).properties.status).toBe("Succeeded");
  const [user, token] = readLogin(file, registry.host) ?? ["", ""];
  expect(user).toBe("00000000-0000-0000-0000-000000000000");
  const form = new URLSearchParams({
    grant_type: "refresh_token",
    service: registry.host,
    scope: "repository:any/thing:pull",
    refresh_token: token,
  });
  const answer = await fetch(`${registry.url}/oauth2/token`, { method: "POST", body: form });
  expect((await answer.json()) as object).toHaveProperty("access_token");
  const { text } = await readLog(service, runId);
  expect(text).toContain('"auth": "***"');
  expect(text).not.toContain(token);
});

test("a step logs in as the identity of the request, or not at all", async () => {
  const { folder, registry } = ground();
  const service = await ground().start({ identities, commands });
  const file = join(folder, "other.json");
  const start = async (credentials: unknown): Promise<string> => {
    const runId = await schedule(service, taskRequest(`steps: [{cmd: $Registry/copy ${file}}]`, { credentials }));
    const { properties } = await waitFor(service, runId);
    return properties.status === "Succeeded" ? "Succeeded" : (await readLog(service, runId)).text;
  };
  const custom = { userName: { value: "u", type: "Opaque" }, password: { value: "p", type: "Opaque" } };
  expect(
    await start({ sourceRegistry: { identity: "[caller]" }, customRegistries: { "other.example.com": custom } }),
  ).toBe("Succeeded");
  const claims = (readLogin(file, registry.host)?.[1] ?? "").split(".")[1] ?? "";
  expect(JSON.parse(Buffer.from(claims, "base64url").toString())).toMatchObject({ sub: "caller" });
  expect(readLogin(file, "other.example.com")).toEqual(["u", "p"]);

  expect(await start({ sourceRegistry: { loginMode: "None" } })).toBe("Succeeded");
  expect(readLogin(file, registry.host)).toBeUndefined();

  expect(await start({ sourceRegistry: { identity: "11111111-1111-4111-8111-111111111111" } })).toContain(
    "no identity 11111111",
  );
  expect(
    await start({ customRegistries: { "a.example.com": { userName: { value: "https://v", type: "Vaultsecret" } } } }),
  ).toContain("no key vault");
});

describe("a build", () => {
  for (const executor of ["own", "buildah"] as const) {
    const missing = executor === "buildah" && process.getuid?.() === 0 ? missingTools("buildah") : undefined;
    test.skipIf(missing !== undefined || (executor === "buildah" && process.getuid?.() !== 0))(
      `pulls and pushes with the run's login, and is denied without (${executor})`,
      async () => {
        const { folder, registry } = ground();
        const service = await ground().start({ executor, identities });
        const build = async (dockerfile: string, name: string, credentials: unknown = {}): Promise<string> => {
          const runId = await schedule(service, {
            type: "DockerBuildRequest",
            dockerFilePath: "Dockerfile",
            imageNames: [name],
            platform: LINUX,
            credentials,
            sourceLocation: await uploadSource(service, await packSource(folder, { Dockerfile: dockerfile })),
          });
          const { properties } = await waitFor(service, runId);
          return properties.status === "Succeeded" ? "Succeeded" : (await readLog(service, runId)).text;
        };
        const caller = { sourceRegistry: { identity: "[caller]" } };
        expect(await build("FROM scratch\nCOPY Dockerfile /\n", `team/${executor}:1`, caller)).toBe("Succeeded");
        const next = `FROM ${registry.host}/team/${executor}:1\nLABEL a=b\n`;
        expect(await build(next, `team/${executor}:2`, caller)).toBe("Succeeded");
        // Base layers move to another repository of the same registry without being uploaded.
        expect(await build(next, `team/more/${executor}:2`, caller)).toBe("Succeeded");
        expect(await build(next, `elsewhere/${executor}:2`, caller)).toMatch(/denied|DENIED|403|unauthorized/i);
        expect(await build(next, `team/${executor}:3`, { sourceRegistry: { loginMode: "None" } })).toMatch(
          /unauthorized|UNAUTHORIZED|401/i,
        );
      },
    );
  }
});

test("behind a firewall a task with its own identity passes when the registry allows it", async () => {
  const service = await ground().start({
    commands,
    identities: { "[system]": "entra-default" },
    rules: { network: { bypassForTasks: true } },
  });
  const step = {
    type: "EncodedTask",
    encodedTaskContent: Buffer.from("steps: [{cmd: $Registry/show}]").toString("base64"),
  };
  const properties = { platform: LINUX, step, credentials: { sourceRegistry: { identity: "[system]" } } };
  await call(service, "PUT", "tasks/inside", { location: "here", identity: { type: "SystemAssigned" }, properties });
  const request = { type: "TaskRunRequest", taskId: `${service.registryId}/tasks/inside` };
  expect((await waitFor(service, await schedule(service, request))).properties.status).toBe("Succeeded");
});
