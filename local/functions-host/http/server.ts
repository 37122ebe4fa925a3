// The host's HTTP server: dispatches to admin, webhooks and routes, and closes without dropping what it answers.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { messageOf } from "../errors.ts";
import type { LogSink } from "../log.ts";
import { sendStatus } from "./exchange.ts";
import type { HttpHandler } from "./exchange.ts";

/** A listening server whose handler comes later; until then requests get 503. */
export interface HttpServer {
  readonly url: string;
  serve(handler: HttpHandler): void;
  /** Refuses new connections and waits `graceMs` for requests under way. */
  close(graceMs: number): Promise<void>;
}

/** Listens on 127.0.0.1; port 0 takes a free one. */
export async function listen(port: number, log: LogSink): Promise<HttpServer> {
  let handler: HttpHandler = (exchange) => sendStatus(exchange, 503);
  let origin = "";
  const server = createServer((request, response) => {
    const exchange = { request, response, url: parseUrl(request.url ?? "/", request.headers.host, origin) };
    if (exchange.url === undefined) return sendStatus({ ...exchange, url: new URL(origin) }, 400);
    const { url } = exchange;
    Promise.resolve()
      .then(() => handler({ request, response, url }))
      .catch((error: unknown) => {
        log({ level: "error", category: "host", message: messageOf(error) });
        if (response.headersSent) response.destroy();
        else sendStatus({ request, response, url }, 500);
      });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    url: origin,
    serve(next) {
      handler = next;
    },
    async close(graceMs) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const force = setTimeout(() => server.closeAllConnections(), graceMs);
      await closed;
      clearTimeout(force);
    },
  };
}

/** The absolute URL as the caller wrote it, by its Host header. */
function parseUrl(target: string, host: string | undefined, origin: string): URL | undefined {
  return URL.parse(target, host === undefined ? origin : `http://${host}`) ?? undefined;
}
