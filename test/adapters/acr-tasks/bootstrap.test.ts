// Building an image by ACR Tasks and following its log, whenever the log comes, is completed, or fails to.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { buildImage, createRebaseTask } from "../../../src/adapters/acr-tasks/index.ts";
import { armRun, startScriptedService, type ScriptedAnswer, type ScriptedService } from "./scripted-service.ts";

let service: ScriptedService;
/** What the service shows at each look at the run: its status, the log so far (undefined: none), whether that is all. */
let looks: { readonly status: string; readonly log?: string; readonly complete?: boolean }[] = [];
let look = 0;

beforeAll(async () => {
  service = await startScriptedService();
});
afterAll(async () => service.close());
beforeEach(() => {
  service.seen.length = 0;
  service.pauses.length = 0;
  look = -1;
  service.answer(({ method, path, headers }): ScriptedAnswer => {
    if (path.includes("/listBuildSourceUploadUrl"))
      return { status: 200, json: { uploadUrl: `${service.url}/source?sig=x`, relativePath: "source/1.tar.gz" } };
    if (path.startsWith("/source")) return { status: 201 };
    if (path.includes("/scheduleRun")) return { status: 200, json: armRun("Queued") };
    if (path.includes("/listLogSasUrl")) return { status: 200, json: { logLink: `${service.url}/log?sig=x` } };
    if (path.includes("/runs/cf1")) {
      look = Math.min(look + 1, looks.length - 1);
      const outputImages = [{ registry: "r", repository: "lighter", tag: "1", digest: "sha256:abc" }];
      return { status: 200, json: armRun(looks[look]?.status ?? "", { outputImages }) };
    }
    const { log, complete } = looks[look] ?? { status: "" };
    if (log === undefined) return { status: 404 };
    const metadata = complete === true ? { "x-ms-meta-complete": "successful" } : {};
    if (method === "HEAD") return { status: 200, headers: { ...metadata, "content-length": String(log.length) } };
    const [, from = "0"] = /bytes=(\d+)-/.exec(String(headers["x-ms-range"])) ?? [];
    return { status: 206, text: log.slice(Number(from)) };
  });
});

const build = async (): Promise<{ result: Awaited<ReturnType<typeof buildImage>>; log: string }> => {
  let log = "";
  const result = await buildImage(service.connect(), {
    context: [{ path: "Dockerfile", content: Buffer.from("FROM scratch\n") }],
    image: "lighter:1",
    buildArguments: { NODE_IMAGE: "r/node:24" },
    settings: { agentPool: "pool", architecture: "arm64", timeoutSeconds: 900, otherIdentities: { "r.io": "system" } },
    onLog: (text) => (log += text),
  });
  return { result, log };
};

describe("a build", () => {
  test("asks for what was asked for, prints its log once, and says what it pushed", async () => {
    looks = [
      { status: "Queued" },
      { status: "Running", log: "one\n" },
      { status: "Running", log: "one\ntwo\n" },
      { status: "Succeeded", log: "one\ntwo\nthree\n", complete: true },
    ];
    const { result, log } = await build();
    expect(log).toBe("one\ntwo\nthree\n");
    expect(result).toMatchObject({ runId: "cf1", digest: "sha256:abc", state: { state: "succeeded" } });
    expect(JSON.parse(service.seen.find(({ path }) => path.includes("/scheduleRun"))?.body.toString() ?? "")).toEqual({
      type: "DockerBuildRequest",
      isArchiveEnabled: false,
      agentPoolName: "pool",
      platform: { os: "Linux", architecture: "arm64" },
      timeout: 900,
      credentials: { sourceRegistry: { loginMode: "Default" }, customRegistries: { "r.io": { identity: "system" } } },
      sourceLocation: "source/1.tar.gz",
      dockerFilePath: "Dockerfile",
      imageNames: ["lighter:1"],
      isPushEnabled: true,
      noCache: false,
      arguments: [{ name: "NODE_IMAGE", value: "r/node:24", isSecret: false }],
    });
  });

  test("waits a little for a log that is completed late", async () => {
    looks = [
      { status: "Succeeded", log: "one\n" },
      { status: "Succeeded", log: "one\n" },
      { status: "Succeeded", log: "one\nlast\n", complete: true },
    ];
    expect((await build()).log).toBe("one\nlast\n");
  });

  test("ends without a log, and with one that is never completed", async () => {
    looks = [{ status: "Running" }, { status: "Succeeded" }];
    expect((await build()).log).toBe("");
    look = -1;
    looks = [{ status: "Succeeded", log: "cut off" }];
    expect((await build()).log).toBe("cut off");
  });

  test("pauses longer and longer while nothing is new, up to 15 s", async () => {
    looks = [
      ...Array.from({ length: 12 }, () => ({ status: "Queued" })),
      { status: "Succeeded", log: "", complete: true },
    ];
    await build();
    expect(service.pauses.slice(0, 3)).toEqual([1_000, 1_500, 2_250]);
    expect(service.pauses.at(-1)).toBe(15_000);
  });

  test.each(["Failed", "Canceled", "Error", "Timeout"])(
    "that ends as %s is a failure with its last lines",
    async (status) => {
      looks = [{ status, log: "step 1\nboom\n", complete: true }];
      const { state } = (await build()).result;
      expect(state).toMatchObject({
        state: "failed",
        reason: expect.stringContaining(status),
        log: { tail: "step 1\nboom" },
      });
    },
  );

  test.each([299, 28_801, 1.5, Number.NaN])("refuses a timeout of %s s", async (timeoutSeconds) => {
    const request = { context: [], image: "x:1", settings: { timeoutSeconds }, onLog: () => {} };
    await expect(buildImage(service.connect(), request)).rejects.toMatchObject({ code: "SETTING_INVALID" });
    expect(service.seen).toEqual([]);
  });
});

test("a task for rebases is one step that takes values, run as the task's own identity", async () => {
  service.answer({ status: 200, json: { id: "/tasks/t", identity: { principalId: "p" } } });
  const task = await createRebaseTask(service.connect(), {
    name: "lighter-rebase",
    location: "westeurope",
    settings: { timeoutSeconds: 1_200, agentPool: "inside" },
  });
  expect(task).toEqual({ id: "/tasks/t", principalId: "p" });
  const [put] = service.seen;
  expect(put).toMatchObject({ method: "PUT", path: expect.stringContaining("/tasks/lighter-rebase?") });
  expect(JSON.parse(put?.body.toString() ?? "")).toMatchObject({
    location: "westeurope",
    identity: { type: "SystemAssigned" },
    properties: {
      timeout: 1_200,
      agentPoolName: "inside",
      credentials: { sourceRegistry: { identity: "[system]" } },
      step: { type: "EncodedTask" },
    },
  });
});
