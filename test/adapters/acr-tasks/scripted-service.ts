// A server that answers as a test says, in the place of ARM and of its storage, and remembers what it was asked.
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { createAcrTasksClient, type AcrTasksClient } from "../../../src/adapters/acr-tasks/index.ts";
import type { RetryPolicy } from "../../../src/adapters/registry/retry.ts";

/** A request as it came. */
export interface SeenRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** An answer; `reset` breaks the connection instead. */
export type ScriptedAnswer =
  | "reset"
  | {
      readonly status: number;
      readonly json?: unknown;
      readonly text?: string;
      readonly headers?: Readonly<Record<string, string>>;
    };

/** A running server. */
export interface ScriptedService {
  readonly url: string;
  readonly seen: SeenRequest[];
  /** How long a client paused between attempts, in ms. */
  readonly pauses: number[];
  /** Sets what follows; the last answer is repeated, a function answers by request. */
  answer(...answers: readonly (ScriptedAnswer | ((request: SeenRequest) => ScriptedAnswer))[]): void;
  connect(retry?: Partial<RetryPolicy>): AcrTasksClient;
  close(): Promise<void>;
}

export const SUBSCRIPTION = "12345678-1234-4321-8765-123456789abc";
export const REGISTRY_PATH: string = `/subscriptions/${SUBSCRIPTION}/resourceGroups/models/providers/Microsoft.ContainerRegistry/registries/fleet`;

/** Starts the server. */
export async function startScriptedService(): Promise<ScriptedService> {
  const seen: SeenRequest[] = [];
  const pauses: number[] = [];
  let script: (ScriptedAnswer | ((request: SeenRequest) => ScriptedAnswer))[] = [];
  const server = createServer((incoming, outgoing) => {
    const chunks: Buffer[] = [];
    incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
    incoming.on("end", () => {
      const { method = "", url: path = "", headers } = incoming;
      const request: SeenRequest = { method, path, headers, body: Buffer.concat(chunks) };
      seen.push(request);
      const next = (script.length > 1 ? script.shift() : script[0]) ?? { status: 500 };
      const answer = typeof next === "function" ? next(request) : next;
      if (answer === "reset") {
        incoming.socket.destroy();
        return;
      }
      const isJson = answer.json !== undefined;
      const body = isJson ? JSON.stringify(answer.json) : (answer.text ?? "");
      outgoing.writeHead(answer.status, {
        "content-type": isJson ? "application/json" : "text/plain",
        "content-length": Buffer.byteLength(body),
        ...answer.headers,
      });
      outgoing.end(method === "HEAD" ? undefined : body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    seen,
    pauses,
    answer: (...answers) => void (script = [...answers]),
    connect: (retry = {}) =>
      createAcrTasksClient({
        endpoint: url,
        subscriptionId: SUBSCRIPTION,
        resourceGroup: "models",
        registryName: "fleet",
        credential: async () => ({
          getToken: async () => ({ token: "entra", expiresOnTimestamp: Date.now() + 3_600_000 }),
        }),
        retry: { attempts: 3, random: () => 1, sleep: async (ms) => void pauses.push(ms), ...retry },
      }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** A run as the service shows it. */
export function armRun(status: string, properties: Readonly<Record<string, unknown>> = {}): unknown {
  return {
    id: `${REGISTRY_PATH}/runs/cf1`,
    name: "cf1",
    type: "Microsoft.ContainerRegistry/registries/runs",
    properties: { runId: "cf1", status, createTime: "2026-03-09T17:30:00Z", runType: "QuickRun", ...properties },
  };
}
