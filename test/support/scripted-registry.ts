// An HTTP server whose every answer a test scripts, for registries that misbehave.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A request as it arrived, with its whole body. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
  /** 1 for the first request with this method and path, and so on. */
  readonly nth: number;
}

/** A running server, the requests it saw and how many connections are open. */
export interface ScriptedRegistry {
  readonly host: string;
  readonly seen: readonly SeenRequest[];
  /** Resolves once no connection is open any more. */
  idle(): Promise<void>;
  close(): Promise<void>;
}

/** Answers one request; an answer that is never ended hangs. */
export type Script = (request: SeenRequest, response: ServerResponse) => void;

/** Starts a server on a free port of the loopback that answers by `script`. */
export async function startScriptedRegistry(script: Script): Promise<ScriptedRegistry> {
  const seen: SeenRequest[] = [];
  const connections = new Set<object>();
  const whenIdle: (() => void)[] = [];
  // Idle connections stay open until the client or the test ends them.
  const server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const url = new URL(request.url ?? "/", "http://scripted");
      const method = request.method ?? "";
      const nth = seen.filter((earlier) => earlier.method === method && earlier.path === url.pathname).length + 1;
      const entry: SeenRequest = {
        method,
        path: url.pathname,
        query: url.searchParams,
        headers: request.headers,
        body: Buffer.concat(chunks),
        nth,
      };
      seen.push(entry);
      script(entry, response);
    });
    request.on("error", () => {});
    response.on("error", () => {});
  });
  server.on("connection", (socket) => {
    connections.add(socket);
    socket.on("close", () => {
      connections.delete(socket);
      if (connections.size === 0) for (const resolve of whenIdle.splice(0)) resolve();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    idle: () => (connections.size === 0 ? Promise.resolve() : new Promise((resolve) => void whenIdle.push(resolve))),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
