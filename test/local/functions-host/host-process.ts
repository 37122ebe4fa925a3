// Runs the functions host as a process of its own and talks to it as its callers do.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { ProcessOptions } from "../../../local/functions-host/main.ts";
import type { HostKeys } from "../../../local/functions-host/keys.ts";
import type { HostWarning } from "../../../local/functions-host/warnings.ts";

export const appsFolder: string = join(import.meta.dirname, "apps");
export const mainFile: string = join(import.meta.dirname, "../../../local/functions-host/main.ts");

/** What Durable's HTTP API says of an instance. */
export interface Status {
  readonly name: string;
  readonly instanceId: string;
  readonly runtimeStatus: string;
  readonly input: unknown;
  readonly output: unknown;
  readonly customStatus: unknown;
  readonly createdTime: string;
  readonly historyEvents?: readonly Record<string, unknown>[];
}

/** A host in a process, with the parts of its API that tests use. */
export interface HostProcess {
  readonly url: string;
  readonly keys: HostKeys;
  readonly functions: readonly string[];
  /** Lines of the log so far, parsed. */
  readonly log: readonly Record<string, unknown>[];
  /** Sends a request to a path of the host. */
  call(path: string, init?: RequestInit): Promise<Response>;
  /** Sends a request to Durable's HTTP API with the system key. */
  durable(path: string, init?: RequestInit): Promise<Response>;
  /** Starts an orchestration and returns its id. */
  start(name: string, input?: unknown, id?: string): Promise<string>;
  status(id: string, query?: string): Promise<Status>;
  /** Asks for the status until it is one of `wanted` (any final one unless given). */
  until(id: string, wanted?: readonly string[]): Promise<Status>;
  /** Starts, waits and returns the final status. */
  run(name: string, input?: unknown, id?: string): Promise<Status>;
  raise(id: string, event: string, value?: unknown): Promise<number>;
  warnings(): Promise<readonly HostWarning[]>;
  /** Ends with SIGTERM; rejects unless the exit code is 0. */
  stop(): Promise<void>;
  kill9(): Promise<void>;
}

/** A folder for one test file's storage, removed by `remove`. */
export function makeFolder(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "functions-host-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** The options of a host for an app of the apps folder; the orchestrations come with their clients. */
export function optionsFor(entry: string, folder: string, more: Partial<ProcessOptions> = {}): ProcessOptions {
  return {
    app: { folder: appsFolder, entries: entry === "orchestrations.ts" ? [entry, "clients.ts"] : [entry] },
    storageFile: join(folder, "host.db"),
    keys: { master: "master-key", host: { default: "host-key" }, system: { durabletask_extension: "durable-key" } },
    ...more,
  };
}

const FINAL = ["Completed", "Failed", "Terminated"];

/** Starts the process; rejects with what it wrote to standard error if it does not come up. */
export async function startHost(options: ProcessOptions): Promise<HostProcess> {
  const child = spawn(process.execPath, [mainFile], {
    env: { ...process.env, LIGHTER_FUNCTIONS_HOST: JSON.stringify(options) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = once(child, "exit") as Promise<[number | null]>;
  const log: Record<string, unknown>[] = [];
  createInterface({ input: child.stderr }).on("line", (line) => log.push(parseLine(line)));
  const { url, keys, functions } = await readHello(child, exited, log);

  const call = (path: string, init?: RequestInit): Promise<Response> => fetch(`${url}${path}`, init);
  const durable = (path: string, init: RequestInit = {}): Promise<Response> =>
    call(`/runtime/webhooks/durabletask/${path}`, {
      ...init,
      headers: { "content-type": "application/json", "x-functions-key": keys.system["durabletask_extension"] ?? "" },
    });
  const post = (path: string, value?: unknown): Promise<Response> =>
    durable(path, { method: "POST", ...(value !== undefined && { body: JSON.stringify(value) }) });

  const host: HostProcess = {
    url,
    keys,
    functions,
    log,
    call,
    durable,
    async start(name, input, id) {
      const response = await post(`orchestrators/${name}${id === undefined ? "" : `/${id}`}`, input);
      if (response.status !== 202) throw new Error(`start ${name}: ${response.status} ${await response.text()}`);
      return ((await response.json()) as { id: string }).id;
    },
    async status(id, query = "") {
      const response = await durable(`instances/${encodeURIComponent(id)}${query}`);
      if (response.status === 404) throw new Error(`no instance ${id}`);
      return (await response.json()) as Status;
    },
    async until(id, wanted = FINAL) {
      for (;;) {
        const status = await host.status(id);
        if (wanted.includes(status.runtimeStatus)) return status;
        if (FINAL.includes(status.runtimeStatus)) throw new Error(`${id} is ${JSON.stringify(status)}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
    run: async (name, input, id) => host.until(await host.start(name, input, id)),
    raise: async (id, event, value) => (await post(`instances/${id}/raiseEvent/${event}`, value)).status,
    async warnings() {
      const response = await call("/admin/host/warnings", { headers: { "x-functions-key": keys.master } });
      return (await response.json()) as HostWarning[];
    },
    async stop() {
      child.kill("SIGTERM");
      const [code] = await exited;
      if (code !== 0) throw new Error(`the host ended with ${code}: ${JSON.stringify(log.at(-1))}`);
    },
    async kill9() {
      child.kill("SIGKILL");
      await exited;
    },
  };
  return host;
}

interface Hello {
  readonly url: string;
  readonly keys: HostKeys;
  readonly functions: readonly string[];
}

async function readHello(child: ChildProcess, exited: Promise<unknown>, log: readonly unknown[]): Promise<Hello> {
  const lines = createInterface({ input: child.stdout as NonNullable<ChildProcess["stdout"]> });
  const hello = (async () => {
    for await (const line of lines) return JSON.parse(line) as Hello;
    return undefined;
  })();
  const first = await Promise.race([hello, exited.then(() => undefined)]);
  if (first !== undefined) return first;
  await exited;
  throw new Error(`the host did not start: ${JSON.stringify(log.at(-1))}`);
}

function parseLine(line: string): Record<string, unknown> {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return { text: line };
  }
}
