// Microsoft's own client of ACR Tasks against the embedded service.
import { ContainerRegistryManagementClient } from "@azure/arm-containerregistry";
import type { TokenCredential } from "@azure/core-auth";
import { createDefaultHttpClient, type HttpClient } from "@azure/core-rest-pipeline";
import { BlockBlobClient } from "@azure/storage-blob";
import { expect, test } from "vitest";
import type { LocalAcrTasks } from "../../../local/acr-tasks/acr-tasks.ts";
import { packSource } from "./build-fixture.ts";
import { readLog, useGround, waitFor } from "./support.ts";

const ground = useGround();
const TOKEN = "entra-token";

/** The client refuses to send tokens without TLS, so it is told https and its requests are sent as plain http. */
function createClient(service: LocalAcrTasks): ContainerRegistryManagementClient {
  const base = createDefaultHttpClient();
  const httpClient: HttpClient = {
    sendRequest(request) {
      request.url = request.url.replace(/^https:\/\/127\.0\.0\.1/, "http://127.0.0.1");
      request.allowInsecureConnection = true;
      return base.sendRequest(request);
    },
  };
  const credential: TokenCredential = {
    getToken: () => Promise.resolve({ token: TOKEN, expiresOnTimestamp: Date.now() + 3_600_000 }),
  };
  return new ContainerRegistryManagementClient(credential, service.subscriptionId, {
    endpoint: service.url.replace("http:", "https:"),
    httpClient,
    retryOptions: { maxRetries: 0 },
  });
}

test("uploads a source, builds it, follows the run and reads its log", async () => {
  const service = await ground().start({ executor: "own", acceptBearer: (token) => token === TOKEN });
  const { registries, runs } = createClient(service);
  const place = [service.resourceGroup, service.registryName] as const;

  const { uploadUrl = "", relativePath = "" } = await registries.getBuildSourceUploadUrl(...place);
  expect(relativePath).toMatch(/^source\/\d{12}\/[0-9a-f-]{36}\.tar\.gz$/);
  const source = await packSource(ground().folder, { "build/Dockerfile": "FROM scratch\nCOPY build /made\n" });
  await new BlockBlobClient(uploadUrl).uploadData(source);

  const scheduled = await registries.beginScheduleRunAndWait(...place, {
    type: "DockerBuildRequest",
    dockerFilePath: "build/Dockerfile",
    imageNames: ["team/made:1"],
    platform: { os: "Linux", architecture: "amd64" },
    sourceLocation: relativePath,
    timeout: 600,
  });
  const runId = scheduled.runId ?? "";
  expect(scheduled.runType).toBe("QuickBuild");
  let run = await runs.get(...place, runId);
  while (["Queued", "Started", "Running"].includes(run.status ?? "")) run = await runs.get(...place, runId);
  expect(run).toMatchObject({ status: "Succeeded", provisioningState: "Succeeded" });
  expect(run.finishTime).toBeInstanceOf(Date);
  expect(run.outputImages).toEqual([
    {
      registry: ground().registry.host,
      repository: "team/made",
      tag: "1",
      digest: expect.stringMatching(/^sha256:/) as string,
    },
  ]);
  const { logLink = "" } = await runs.getLogSasUrl(...place, runId);
  expect(await (await fetch(logLink)).text()).toContain("COPY build /made");

  const listed = [];
  for await (const each of runs.list(...place, { filter: "Status eq 'Succeeded'" })) listed.push(each.runId);
  expect(listed).toEqual([runId]);
  expect((await runs.beginUpdateAndWait(...place, runId, { isArchiveEnabled: true })).isArchiveEnabled).toBe(true);
});

test("runs an encoded task and cancels it", async () => {
  const stay = [process.execPath, "-e", "setInterval(() => {}, 1000)"] as const;
  const service = await ground().start({ commands: { stay } });
  const { registries, runs } = createClient(service);
  const place = [service.resourceGroup, service.registryName] as const;
  const { runId = "" } = await registries.beginScheduleRunAndWait(...place, {
    type: "EncodedTaskRunRequest",
    encodedTaskContent: Buffer.from("steps: [{cmd: $Registry/stay}]").toString("base64"),
    platform: { os: "Linux" },
  });
  await waitFor(service, runId, (status) => status === "Running");
  await runs.beginCancelAndWait(...place, runId);
  expect((await waitFor(service, runId)).properties.status).toBe("Canceled");
  expect((await readLog(service, runId)).outcome).toBe("canceled");
});

test("creates, reads and deletes a task, and hears why a run is refused", async () => {
  const service = await ground().start();
  const client = createClient(service);
  const place = [service.resourceGroup, service.registryName] as const;
  const task = await client.tasks.beginCreateAndWait(...place, "rebase", {
    location: "westeurope",
    identity: { type: "SystemAssigned" },
    platform: { os: "Linux" },
    step: { type: "EncodedTask", encodedTaskContent: Buffer.from("steps: [{cmd: a}]").toString("base64") },
  });
  expect(task.identity?.principalId).toMatch(/^[0-9a-f-]{36}$/);
  expect((await client.tasks.get(...place, "rebase")).step?.type).toBe("EncodedTask");
  await client.tasks.beginDeleteAndWait(...place, "rebase");
  await expect(client.tasks.get(...place, "rebase")).rejects.toMatchObject({
    statusCode: 404,
    code: "ResourceNotFound",
  });

  service.setRules({ tasksAllowed: false });
  const refused = client.registries.beginScheduleRunAndWait(...place, {
    type: "DockerBuildRequest",
    dockerFilePath: "Dockerfile",
    platform: { os: "Linux" },
  });
  await expect(refused).rejects.toMatchObject({ statusCode: 400, code: "TasksOperationsNotAllowed" });
});
