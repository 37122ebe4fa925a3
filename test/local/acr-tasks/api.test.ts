// The ARM API by raw calls: versions, paths, validation, lists, logs, pre-created tasks and the registry's restrictions.
import { BlobClient } from "@azure/storage-blob";
import { describe, expect, test } from "vitest";
import type { LocalAcrTasks } from "../../../local/acr-tasks/acr-tasks.ts";
import { createSteppedClock } from "../../../local/clock.ts";
import { call, getRun, LINUX, readLog, schedule, taskRequest, useGround, waitFor, type WireRun } from "./support.ts";

const ground = useGround();
const START = Date.parse("2026-11-20T12:00:00Z");
const COMMANDS = { ok: [process.execPath, "-e", "console.log('done')"] } as const;
const OK = "steps: [{cmd: $Registry/ok}]";

describe("a call", () => {
  test("needs an api-version that tasks have", async () => {
    const service = await ground().start();
    const request = taskRequest(OK);
    const get = async (version: string): Promise<[number, string]> => {
      const { status, body } = await call(service, "POST", "scheduleRun", request, version);
      return [status, body.error?.code];
    };
    expect(await get("")).toEqual([400, "MissingApiVersionParameter"]);
    expect(await get("yesterday")).toEqual([400, "InvalidApiVersionParameter"]);
    expect(await get("2025-11-01")).toEqual([400, "NoRegisteredProviderFound"]);
    expect((await get("2025-03-01-preview"))[0]).toBe(200);
    expect((await get("2019-06-01-preview"))[0]).toBe(200);
  });

  test("needs a token where tokens are checked", async () => {
    const service = await ground().start({ acceptBearer: (token) => token === "right" });
    const get = async (headers: Record<string, string>): Promise<[number, string | null]> => {
      const url = `${service.url}${service.registryId}/runs?api-version=2025-03-01-preview`;
      const response = await fetch(url, { headers });
      return [response.status, response.headers.get("www-authenticate")];
    };
    expect(await get({})).toEqual([401, expect.stringContaining("Bearer")]);
    expect((await get({ authorization: "Bearer wrong" }))[0]).toBe(401);
    expect((await get({ authorization: "Bearer right" }))[0]).toBe(200);
  });

  test("finds the registry whatever the case of the path, and no other", async () => {
    const service = await ground().start();
    const get = async (path: string): Promise<[number, string | undefined]> => {
      const response = await fetch(`${service.url}${path}/runs?api-version=2025-03-01-preview`);
      const body = (await response.json()) as { error?: { code: string } };
      return [response.status, body.error?.code];
    };
    const id = service.registryId;
    expect(await get(id.replace("resourceGroups", "RESOURCEGROUPS").replace("Microsoft", "microsoft"))).toEqual([
      200,
      undefined,
    ]);
    expect(await get(id.replace(/[^/]+$/, "other"))).toEqual([404, "ResourceNotFound"]);
    expect(await get(id.replace("resourceGroups/lighter", "resourceGroups/other"))).toEqual([
      404,
      "ResourceGroupNotFound",
    ]);
    expect(await get(id.replace(/[0-9a-f-]{36}/, "11111111-1111-4111-8111-111111111111"))).toEqual([
      404,
      "SubscriptionNotFound",
    ]);
    expect(await get(id.replace(/[0-9a-f-]{36}/, "mine"))).toEqual([400, "InvalidSubscriptionId"]);
    expect((await call(service, "GET", "runs/none")).body.error.code).toBe("RunNotFound");
    expect((await call(service, "GET", "builds")).body.error.code).toBe("InvalidResourceType");
  });
});

describe("scheduleRun", () => {
  const build = { type: "DockerBuildRequest", dockerFilePath: "Dockerfile", platform: LINUX };
  const refused: readonly [what: string, body: unknown, target: string | undefined][] = [
    ["no body", undefined, "request.type"],
    ["an unknown type", { ...build, type: "MagicRunRequest" }, "request.type"],
    ["a timeout below five minutes", { ...build, timeout: 299 }, "request.timeout"],
    ["a timeout above eight hours", { ...build, timeout: 28_801 }, "request.timeout"],
    ["no platform", { ...build, platform: undefined }, "request.platform"],
    ["an unknown system", { ...build, platform: { os: "Plan9" } }, "request.platform.os"],
    ["Windows", { ...build, platform: { os: "Windows" } }, "request.platform.os"],
    [
      "an unknown architecture",
      { ...build, platform: { os: "Linux", architecture: "riscv64" } },
      "request.platform.architecture",
    ],
    ["a variant that does not fit", { ...build, platform: { os: "Linux", variant: "v7" } }, "request.platform.variant"],
    ["no Dockerfile", { ...build, dockerFilePath: undefined }, "request.dockerFilePath"],
    [
      "a task that is no base64",
      { ...(taskRequest(OK) as object), encodedTaskContent: "steps: []" },
      "request.encodedTaskContent",
    ],
    [
      "an unknown login mode",
      { ...build, credentials: { sourceRegistry: { loginMode: "Maybe" } } },
      "request.credentials.sourceRegistry.loginMode",
    ],
    ["an unknown agent pool", { ...build, agentPoolName: "none" }, "agentPoolName"],
    ["a task of another registry", { type: "TaskRunRequest", taskId: "/subscriptions/x/tasks/y" }, "request.taskId"],
  ];
  for (const [what, body, target] of refused) {
    test(`refuses ${what}`, async () => {
      const service = await ground().start();
      const answer = await call(service, "POST", "scheduleRun", body);
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(500);
      expect(answer.body.error).toMatchObject({
        code: expect.any(String) as string,
        message: expect.any(String) as string,
        target,
      });
      expect(service.runs()).toEqual([]);
    });
  }

  test("refuses what is not JSON, and nothing hangs on nulls", async () => {
    const service = await ground().start({ commands: COMMANDS });
    const response = await fetch(`${service.url}${service.registryId}/scheduleRun?api-version=2025-03-01-preview`, {
      method: "POST",
      body: "{",
    });
    expect([response.status, ((await response.json()) as { error: { code: string } }).error.code]).toEqual([
      400,
      "InvalidRequestContent",
    ]);
    const runId = await schedule(
      service,
      taskRequest(OK, { agentPoolName: null, credentials: null, sourceLocation: null, timeout: null }),
    );
    expect((await waitFor(service, runId)).properties.status).toBe("Succeeded");
  });

  test("answers with a run as the service writes it", async () => {
    const clock = createSteppedClock(START);
    const service = await ground().start({ clock, queueDelayMs: 1_000, agentPools: { pool1: 1 } });
    const request = taskRequest(OK, {
      isArchiveEnabled: true,
      agentPoolName: "pool1",
      credentials: {
        customRegistries: {
          "other.example.com": { userName: { value: "u", type: "Opaque" }, password: { value: "p", type: "Opaque" } },
        },
      },
    });
    const { status, body } = await call<WireRun>(service, "POST", "scheduleRun", request);
    expect(status).toBe(200);
    expect(body).toEqual({
      id: `${service.registryId}/runs/c01`,
      name: "c01",
      type: "Microsoft.ContainerRegistry/registries/runs",
      properties: {
        provisioningState: "Succeeded",
        runId: "c01",
        status: "Queued",
        lastUpdatedTime: "2026-11-20T12:00:00.000Z",
        runType: "QuickRun",
        createTime: "2026-11-20T12:00:00.000Z",
        agentPoolName: "pool1",
        customRegistries: ["other.example.com"],
        platform: { os: "Linux", architecture: "amd64" },
        agentConfiguration: { cpu: 2 },
        isArchiveEnabled: true,
      },
    });
  });
});

describe("the list of runs", () => {
  async function startWithRuns(): Promise<LocalAcrTasks> {
    const clock = createSteppedClock(START);
    const service = await ground().start({ clock, queueDelayMs: 3_600_000 });
    for (let each = 0; each < 5; each++) {
      await schedule(
        service,
        each % 2 === 0 ? taskRequest(OK) : { type: "DockerBuildRequest", dockerFilePath: "D", platform: LINUX },
      );
      await clock.advance(60_000);
    }
    await call(service, "POST", "runs/c02/cancel");
    return service;
  }
  const ids = (body: { readonly value: readonly WireRun[] }): string[] => body.value.map(({ name }) => name);
  type Page = { readonly value: readonly WireRun[]; readonly nextLink?: string };

  test("comes newest first, in pages, through links", async () => {
    const service = await startWithRuns();
    const first = (await call<Page>(service, "GET", "runs?$top=2")).body;
    expect(ids(first)).toEqual(["c05", "c04"]);
    const second = (await (await fetch(first.nextLink as string)).json()) as Page;
    expect(ids(second)).toEqual(["c03", "c02"]);
    const third = (await (await fetch(second.nextLink as string)).json()) as Page;
    expect(ids(third)).toEqual(["c01"]);
    expect(third.nextLink).toBeUndefined();
  });

  test("is filtered by comparisons", async () => {
    const service = await startWithRuns();
    const list = async (filter: string): Promise<string[]> =>
      ids((await call<Page>(service, "GET", `runs?$filter=${encodeURIComponent(filter)}`)).body);
    expect(await list("Status eq 'Canceled'")).toEqual(["c02"]);
    expect(await list("status ne 'Canceled' and runType eq 'QuickBuild'")).toEqual(["c04"]);
    expect(await list("CreateTime ge 2026-11-20T12:03:00Z")).toEqual(["c05", "c04"]);
    for (const filter of ["Status is 'Canceled'", "Colour eq 'red'", "Status eq"]) {
      const answer = await call(service, "GET", `runs?$filter=${encodeURIComponent(filter)}`);
      expect([answer.status, answer.body.error.code]).toEqual([400, "InvalidFilter"]);
    }
  });

  test("shows what was changed of a run", async () => {
    const service = await startWithRuns();
    const { body } = await call<WireRun>(service, "PATCH", "runs/c01", { isArchiveEnabled: true });
    expect(body.properties.isArchiveEnabled).toBe(true);
    expect((await getRun(service, "c01")).properties.isArchiveEnabled).toBe(true);
    expect((await call(service, "PATCH", "runs/c01", { isArchiveEnabled: "yes" })).status).toBe(400);
  });
});

describe("a log", () => {
  test("is not there before the run starts, grows in ranges, and ends with metadata", async () => {
    const script = "console.log('first'); setTimeout(() => console.log('second'), 300)";
    const clock = createSteppedClock(START);
    const service = await ground().start({
      clock,
      queueDelayMs: 1_000,
      commands: { slow: [process.execPath, "-e", script] },
    });
    const runId = await schedule(service, taskRequest("steps: [{cmd: $Registry/slow}]"));
    const { logLink } = (await call<{ logLink: string }>(service, "POST", `runs/${runId}/listLogSasUrl`)).body;
    await expect(new BlobClient(logLink).getProperties()).rejects.toMatchObject({ statusCode: 404 });
    await clock.advance(1_000);
    const { text, outcome } = await readLog(service, runId);
    expect(text).toMatch(/first\n[^]*second\n[^]*Run ID: c01 was successful after 0s\n$/);
    expect(outcome).toBe("successful");
    expect((await new BlobClient(logLink).getProperties()).blobType).toBe("AppendBlob");
    await expect(new BlobClient(logLink).delete()).rejects.toMatchObject({ statusCode: 403 });
  });
});

describe("a pre-created task", () => {
  const step = {
    type: "EncodedTask",
    encodedTaskContent: Buffer.from(
      "steps: [{cmd: '$Registry/show {{.Values.a}} {{.Values.b}} {{.Run.TaskName}}'}]",
    ).toString("base64"),
    values: [
      { name: "a", value: "one" },
      { name: "b", value: "hidden", isSecret: true },
    ],
  };
  const task = { location: "westeurope", identity: { type: "SystemAssigned" }, properties: { platform: LINUX, step } };
  const commands = { show: [process.execPath, "-e", "console.log(process.argv.slice(1).join('|'))", "--"] } as const;

  test("is put, shown without its secrets, run with other values, and deleted", async () => {
    const service = await ground().start({ commands });
    expect((await call(service, "PUT", "tasks/rebase", task)).status).toBe(201);
    expect((await call(service, "PUT", "tasks/rebase", task)).status).toBe(200);
    const shown = await call<{ readonly id: string; readonly identity: { readonly principalId: string } }>(
      service,
      "GET",
      "tasks/rebase",
    );
    expect(JSON.stringify(shown.body)).not.toContain("hidden");
    expect(shown.body.identity.principalId).toMatch(/^[0-9a-f-]{36}$/);
    const runId = await schedule(service, {
      type: "TaskRunRequest",
      taskId: shown.body.id,
      overrideTaskStepProperties: { values: [{ name: "a", value: "two" }] },
    });
    const { properties } = await waitFor(service, runId);
    expect(properties).toMatchObject({ status: "Succeeded", task: "rebase" });
    expect((await readLog(service, runId)).text).toContain("two|***|rebase");
    expect((await call(service, "DELETE", "tasks/rebase")).status).toBe(200);
    expect((await call(service, "DELETE", "tasks/rebase")).status).toBe(204);
    expect((await call(service, "GET", "tasks/rebase")).body.error.code).toBe("ResourceNotFound");
    const again = await call(service, "POST", "scheduleRun", { type: "TaskRunRequest", taskId: shown.body.id });
    expect(again.status).toBe(404);
  });

  test("is refused with a bad name or step", async () => {
    const service = await ground().start();
    expect((await call(service, "PUT", "tasks/abc", task)).body.error.target).toBe("taskName");
    const odd = { ...task, properties: { platform: LINUX, step: { type: "Magic" } } };
    expect((await call(service, "PUT", "tasks/rebase", odd)).body.error.target).toBe("task.properties.step.type");
  });
});

describe("a registry", () => {
  const identity = (name: string): unknown => taskRequest(OK, { credentials: { sourceRegistry: { identity: name } } });
  const end = async (service: LocalAcrTasks, request: unknown, version?: string): Promise<[string, string]> => {
    const runId = await schedule(service, request, version);
    const { properties } = await waitFor(service, runId);
    return [properties.status, (await readLog(service, runId)).text];
  };

  test("that does not permit tasks refuses them by name", async () => {
    const service = await ground().start({ rules: { tasksAllowed: false } });
    for (const path of ["scheduleRun", "listBuildSourceUploadUrl"]) {
      const { status, body } = await call(service, "POST", path, taskRequest(OK));
      expect(status).toBe(400);
      expect(body.error).toMatchObject({ code: "TasksOperationsNotAllowed", target: "request" });
      expect(body.error.message).toContain("are not permitted");
    }
  });

  test("behind a firewall lets in agent pools, and tasks with an identity that may pass", async () => {
    const service = await ground().start({
      commands: COMMANDS,
      rules: { network: { bypassForTasks: false } },
      agentPools: { inside: 1 },
      identities: { "[system]": "entra" },
    });
    expect(await end(service, taskRequest(OK))).toEqual([
      "Failed",
      expect.stringContaining("denied: client with IP") as string,
    ]);
    expect((await end(service, taskRequest(OK, { agentPoolName: "inside" })))[0]).toBe("Succeeded");
    // The registry has no authentication, so that the exchange is refused: what counts is how far a run gets.
    const step = { type: "EncodedTask", encodedTaskContent: Buffer.from(OK).toString("base64") };
    const properties = { platform: LINUX, step, credentials: { sourceRegistry: { identity: "[system]" } } };
    await call(service, "PUT", "tasks/inside", { location: "here", identity: { type: "SystemAssigned" }, properties });
    const request = { type: "TaskRunRequest", taskId: `${service.registryId}/tasks/inside` };
    expect((await end(service, request))[1]).toContain("denied: client with IP");
    service.setRules({ network: { bypassForTasks: true } });
    expect((await end(service, request))[1]).not.toContain("denied: client with IP");
    expect((await end(service, identity("[system]")))[1]).toContain("no system-assigned identity");
  });

  test("with permissions by repository wants an identity, which only the newer version can name", async () => {
    const service = await ground().start({ commands: COMMANDS, rules: { abac: true } });
    expect(await end(service, taskRequest(OK))).toEqual([
      "Failed",
      expect.stringContaining("unauthorized: authentication required") as string,
    ]);
    expect((await end(service, identity("[caller]")))[1]).toContain("no identity [caller]");
    expect((await end(service, identity("[caller]"), "2019-06-01-preview"))[1]).toContain(
      "unauthorized: authentication required",
    );
  });
});
