// The client of ACR Tasks against a scripted service: what it sends, what it makes of answers, what it never does.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { AcrTasksError, createAcrTasksClient } from "../../../src/adapters/acr-tasks/index.ts";
import { armRun, REGISTRY_PATH, startScriptedService, SUBSCRIPTION, type ScriptedService } from "./scripted-service.ts";

let service: ScriptedService;
beforeAll(async () => {
  service = await startScriptedService();
});
afterAll(async () => service.close());
beforeEach(() => {
  service.seen.length = 0;
  service.pauses.length = 0;
});

const failure = async (work: Promise<unknown>): Promise<AcrTasksError> => {
  const error = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(AcrTasksError);
  return error as AcrTasksError;
};

describe("a call", () => {
  test("goes to the registry's resource with the api-version and a Bearer token", async () => {
    service.answer({ status: 200, json: armRun("Running") });
    const run = await service.connect().getRun("cf1");
    expect(run.properties).toMatchObject({ runId: "cf1", status: "Running" });
    expect(service.seen).toMatchObject([
      {
        method: "GET",
        path: `${REGISTRY_PATH}/runs/cf1?api-version=2025-03-01-preview`,
        headers: { authorization: "Bearer entra" },
      },
    ]);
  });

  test("asks for the public cloud's scope on this machine and for the endpoint's own elsewhere", async () => {
    const scopes: unknown[] = [];
    const credential = async () => ({
      getToken: async (scope: unknown) => {
        scopes.push(scope);
        throw Object.assign(new Error("none here"), { name: "CredentialUnavailableError" });
      },
    });
    const place = { subscriptionId: SUBSCRIPTION, resourceGroup: "g", registryName: "r", credential };
    const local = createAcrTasksClient({ ...place, endpoint: service.url });
    const other = createAcrTasksClient({ ...place, endpoint: "https://management.usgovcloudapi.net" });
    const errors = [await failure(local.getRun("x")), await failure(other.getRun("x"))];
    expect(scopes).toEqual([
      ["https://management.azure.com/.default"],
      ["https://management.usgovcloudapi.net/.default"],
    ]);
    expect(errors.map(({ code, retryable }) => [code, retryable])).toEqual([
      ["UNAUTHORIZED", false],
      ["UNAUTHORIZED", false],
    ]);
    expect(service.seen).toEqual([]);
  });

  test("loads its identity when it is needed, and again when that failed", async () => {
    let loaded = 0;
    const client = createAcrTasksClient({
      endpoint: service.url,
      subscriptionId: SUBSCRIPTION,
      resourceGroup: "g",
      registryName: "r",
      credential: async () => {
        loaded += 1;
        if (loaded === 1) throw new Error("no metadata service yet");
        return { getToken: async () => ({ token: "late", expiresOnTimestamp: Date.now() + 3_600_000 }) };
      },
      retry: { sleep: async () => undefined },
    });
    expect(loaded).toBe(0);
    service.answer({ status: 200, json: armRun("Queued") });
    await client.getRun("x");
    expect([loaded, service.seen[0]?.headers.authorization]).toEqual([2, "Bearer late"]);
  });

  test.each([
    ["subscription", { subscriptionId: "models" }],
    ["subscription", { subscriptionId: `${SUBSCRIPTION}/resourceGroups/x` }],
    ["resource group", { resourceGroup: "a/../b" }],
    ["registry name", { registryName: "fleet.azurecr.io" }],
    ["ARM endpoint", { endpoint: "management" }],
  ])("refuses a %s that is none", (subject, setting) => {
    const place = { subscriptionId: SUBSCRIPTION, resourceGroup: "g", registryName: "r" };
    const create = (): unknown =>
      createAcrTasksClient({ ...place, credential: () => Promise.reject(new Error("unused")), ...setting });
    expect(create).toThrow(expect.objectContaining({ code: "SETTING_INVALID", subject }));
  });

  test("refuses plain http to other machines, for ARM as for its links", async () => {
    const place = { subscriptionId: SUBSCRIPTION, resourceGroup: "g", registryName: "r" };
    const credential = () => Promise.reject(new Error("unused"));
    for (const endpoint of ["http://management.azure.com", "http://127.0.0.1.example.com", "ftp://127.0.0.1"])
      expect(() => createAcrTasksClient({ ...place, credential, endpoint })).toThrow(
        expect.objectContaining({ code: "ENDPOINT_INSECURE" }),
      );
    service.answer({
      status: 200,
      json: { uploadUrl: "http://storage.example/source?sig=secret", relativePath: "source/1" },
    });
    const error = await failure(service.connect().uploadContext(Buffer.from("x")));
    expect(error).toMatchObject({ code: "ENDPOINT_INSECURE", subject: "http://storage.example" });
    expect(error.message).not.toContain("secret");
  });

  test.each(["../../x", "a/b", "a?b", ""])("refuses %j as the id of a run", async (runId) => {
    expect((await failure(service.connect().getRun(runId))).code).toBe("SETTING_INVALID");
    expect(service.seen).toEqual([]);
  });
});

describe("a refusal", () => {
  test.each([
    [400, "InvalidParameter", "REQUEST_REFUSED"],
    [401, "InvalidAuthenticationToken", "UNAUTHORIZED"],
    [403, "AuthorizationFailed", "DENIED"],
    [403, "TasksOperationsNotAllowed", "TASKS_NOT_ALLOWED"],
    [404, "ResourceNotFound", "NOT_FOUND"],
    [409, "Conflict", "CONFLICT"],
  ])("of status %i and code %s is %s, and final", async (status, armCode, code) => {
    service.answer({ status, json: { error: { code: armCode, message: "no\nthanks" } } });
    const error = await failure(service.connect().getRun("cf1"));
    expect(error).toMatchObject({ code, armCode, retryable: false });
    expect(error.message).toBe(`look at run fleet/runs/cf1: got status ${status} (${armCode}: no thanks)`);
    expect(service.seen).toHaveLength(1);
  });

  test("that is no ARM error says what came instead, in short", async () => {
    service.answer({ status: 418, text: `<html>\n${"x".repeat(1_000)}</html>` });
    const { message, code } = await failure(service.connect().getRun("cf1"));
    expect(code).toBe("REQUEST_REFUSED");
    expect(message.length).toBeLessThan(400);
  });

  test.each([
    ["text", { text: "hello" }],
    ["a run without status", { json: { id: "x", properties: { runId: "cf1" } } }],
  ])("is also an answer that is %s", async (_name, answer) => {
    service.answer({ status: 200, ...answer });
    expect(await failure(service.connect().getRun("cf1"))).toMatchObject({ code: "UNEXPECTED_RESPONSE" });
  });

  test("keeps links out of its words", async () => {
    service.answer({ status: 200, json: { uploadUrl: "not a url?sig=secret", relativePath: "p" } });
    const { message, cause } = await failure(service.connect().uploadContext(Buffer.alloc(1)));
    expect(`${message} ${JSON.stringify(cause)}`).not.toContain("secret");
  });
});

describe("what may pass", () => {
  test.each([429, 500, 502, 503, 504])("status %i is tried again after the time it names", async (status) => {
    service.answer(
      { status, headers: { "retry-after": "7" } },
      { status, json: { error: { code: "TooManyRequests", message: "later" } } },
      { status: 200, json: armRun("Queued") },
    );
    expect((await service.connect().getRun("cf1")).properties.status).toBe("Queued");
    expect(service.pauses).toEqual([7_000, 1_000]);
  });

  test("is given up after the allowed attempts", async () => {
    service.answer({ status: 429, json: { error: { code: "TooManyRequests", message: "later" } } });
    expect(await failure(service.connect().getRun("cf1"))).toMatchObject({ code: "THROTTLED", retryable: true });
    expect(service.seen).toHaveLength(3);
  });

  test("is a connection that breaks, for every call", async () => {
    service.answer("reset", { status: 200, json: armRun("Queued") });
    const request = { type: "TaskRunRequest", taskId: "t", isArchiveEnabled: false } as const;
    const run = await service.connect().scheduleRun({ ...request, overrideTaskStepProperties: { values: [] } });
    expect(run.properties.runId).toBe("cf1");
    expect(service.seen.map(({ method }) => method)).toEqual(["POST", "POST"]);
    service.answer("reset");
    expect(await failure(service.connect().getRun("cf1"))).toMatchObject({ code: "UNREACHABLE", retryable: true });
  });
});

describe("an upload", () => {
  test("puts a block blob to the link, without the token", async () => {
    service.answer(
      {
        status: 200,
        json: { uploadUrl: `${service.url}/store/source/1.tar.gz?sv=1&sig=s%2Bg`, relativePath: "source/1.tar.gz" },
      },
      { status: 201 },
    );
    const archive = Buffer.from([31, 139, 0, 255]);
    expect(await service.connect().uploadContext(archive)).toBe("source/1.tar.gz");
    const [ask, put] = service.seen;
    expect(ask).toMatchObject({
      method: "POST",
      path: expect.stringMatching(/\/listBuildSourceUploadUrl\?api-version=/),
    });
    expect(put).toMatchObject({
      method: "PUT",
      path: "/store/source/1.tar.gz?sv=1&sig=s%2Bg",
      headers: { "x-ms-blob-type": "BlockBlob", "content-length": "4" },
      body: archive,
    });
    expect(put?.headers.authorization).toBeUndefined();
  });

  test("that storage refuses is an error without the link's signature", async () => {
    service.answer(
      { status: 200, json: { uploadUrl: `${service.url}/store/x?sig=secret`, relativePath: "source/x" } },
      { status: 403, text: "<Error><Code>AuthenticationFailed</Code></Error>" },
    );
    const error = await failure(service.connect().uploadContext(Buffer.alloc(1)));
    expect(error).toMatchObject({ code: "DENIED", subject: "source/x" });
    expect(error.message).not.toContain("secret");
  });
});
