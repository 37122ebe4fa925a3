// What the tests of ACR Tasks share: storage and registry for a file of tests, services with their clocks, and raw calls.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { BlobClient } from "@azure/storage-blob";
import { afterAll, beforeAll, onTestFinished } from "vitest";
import { type AcrTasksOptions, createAcrTasks, type LocalAcrTasks } from "../../../local/acr-tasks/acr-tasks.ts";
import { type Azurite, createAzurite } from "../../../local/azurite.ts";
import { createScaledClock } from "../../../local/clock.ts";
import { createRegistry, type LocalRegistry, type RegistryOptions } from "../../../local/registry/registry.ts";

const API_VERSION = "2025-03-01-preview";
export const LINUX = { os: "Linux" } as const;

/** What a file of tests runs on. */
export interface Ground {
  readonly folder: string;
  readonly azurite: Azurite;
  readonly registry: LocalRegistry;
  /** Starts a service that is closed when the test ends; without a clock it runs in real time. */
  start(options?: Partial<AcrTasksOptions>): Promise<LocalAcrTasks>;
}

/** Sets storage and registry up before the tests of a file and takes them down after. */
export function useGround(registryOptions: Partial<RegistryOptions> = {}): () => Ground {
  let ground: Ground | undefined;
  beforeAll(async () => {
    const folder = mkdtempSync(join(tmpdir(), "lighter-acr-tasks-"));
    const azurite = await createAzurite({ folder: join(folder, "storage") });
    const registry = await createRegistry({ folder: join(folder, "registry"), ...registryOptions });
    let services = 0;
    ground = {
      folder,
      azurite,
      registry,
      async start(options = {}) {
        const service = await createAcrTasks({
          clock: createScaledClock({ originMs: Date.now(), scale: 1 }),
          registryHost: registry.host,
          storage: azurite.connectionString,
          folder: join(folder, `runs-${services++}`),
          executor: "own",
          ...options,
        });
        onTestFinished(() => service.close());
        return service;
      },
    };
  });
  afterAll(async () => {
    await ground?.registry.close();
    await ground?.azurite.close();
    if (ground !== undefined) rmSync(ground.folder, { recursive: true, force: true, maxRetries: 3 });
  });
  return () => ground as Ground;
}

/** A run on the wire, as far as tests look. */
export interface WireRun {
  readonly id: string;
  readonly name: string;
  readonly type: string;
  readonly properties: {
    readonly runId: string;
    readonly status: string;
    readonly provisioningState: string;
    readonly runType: string;
    readonly createTime: string;
    readonly startTime?: string;
    readonly finishTime?: string;
    readonly runErrorMessage?: string;
    readonly task?: string;
    readonly agentPoolName?: string;
    readonly outputImages?: readonly Readonly<Record<string, string>>[];
    readonly platform: Readonly<Record<string, string>>;
    readonly isArchiveEnabled: boolean;
    readonly customRegistries?: readonly string[];
  };
}

/** An answer of the API. */
export interface ArmAnswer<T> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: T;
}

/** Calls an operation below the registry with plain fetch. */
export async function call<
  T = { readonly error: { readonly code: string; readonly message: string; readonly target?: string } },
>(
  service: LocalAcrTasks,
  method: string,
  path: string,
  body?: unknown,
  version: string = API_VERSION,
): Promise<ArmAnswer<T>> {
  const mark = path.includes("?") ? "&" : "?";
  const response = await fetch(`${service.url}${service.registryId}/${path}${mark}api-version=${version}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: (text === "" ? undefined : JSON.parse(text)) as T,
  };
}

/** Schedules a run that must be accepted and returns its id. */
export async function schedule(service: LocalAcrTasks, request: unknown, version?: string): Promise<string> {
  const answer = await call<WireRun>(service, "POST", "scheduleRun", request, version);
  if (answer.status !== 200) throw new Error(`scheduleRun: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body.properties.runId;
}

/** A task of one or more steps as a request. */
export function taskRequest(yaml: string, more: Readonly<Record<string, unknown>> = {}): unknown {
  return {
    type: "EncodedTaskRunRequest",
    encodedTaskContent: Buffer.from(yaml).toString("base64"),
    platform: LINUX,
    ...more,
  };
}

export async function getRun(service: LocalAcrTasks, runId: string): Promise<WireRun> {
  return (await call<WireRun>(service, "GET", `runs/${runId}`)).body;
}

const PENDING = new Set(["Queued", "Started", "Running"]);

/** Polls until a run has a state, by default any final one. */
export async function waitFor(
  service: LocalAcrTasks,
  runId: string,
  isDone: (status: string) => boolean = (status) => !PENDING.has(status),
): Promise<WireRun> {
  for (let attempts = 0; attempts < 3_000; attempts++) {
    const run = await getRun(service, runId);
    if (isDone(run.properties.status)) return run;
    await delay(10);
  }
  throw new Error(`${runId} stays in ${(await getRun(service, runId)).properties.status}`);
}

/** Reads a log to its end as `az acr` does: ranged reads until the blob says `complete`. */
export async function readLog(
  service: LocalAcrTasks,
  runId: string,
): Promise<{ readonly text: string; readonly outcome: string }> {
  const { logLink } = (await call<{ readonly logLink: string }>(service, "POST", `runs/${runId}/listLogSasUrl`)).body;
  const blob = new BlobClient(logLink);
  let text = "";
  for (let attempts = 0; attempts < 3_000; attempts++) {
    const { contentLength = 0, metadata = {} } = await blob.getProperties();
    if (contentLength > Buffer.byteLength(text)) {
      const from = Buffer.byteLength(text);
      text += (await blob.downloadToBuffer(from, contentLength - from)).toString("utf8");
    } else if (metadata["complete"] !== undefined) return { text, outcome: metadata["complete"] };
    await delay(10);
  }
  throw new Error(`the log of ${runId} does not end`);
}
