// The registry's listening sockets: one for all, and one for each client or purpose that wants its own.
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { TrafficCounter } from "./traffic.ts";

const KEEP_ALIVE_MS = 65_000;

/** Opens listeners at 127.0.0.1 and closes them together. */
export interface Listeners {
  /** Listens on a port (0 takes a free one) and returns `127.0.0.1:<port>`; bytes count for `label` if given. */
  open(port: number, label: string | undefined, handle: RequestListener): Promise<string>;
  /** Ends every connection, whatever it is doing. */
  close(): Promise<void>;
}

/** Creates the set of listeners; an upload may take as long as it likes. */
export function createListeners(traffic: TrafficCounter): Listeners {
  const servers: Server[] = [];
  return {
    async open(port, label, handle) {
      const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: 0 }, handle);
      server.on("connection", (socket) => traffic.connected(socket, label));
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(port, "127.0.0.1", () => {
          server.off("error", reject);
          resolve();
        });
      });
      servers.push(server);
      return `127.0.0.1:${(server.address() as AddressInfo).port}`;
    },
    async close() {
      const closed = servers.splice(0).map(
        (server) =>
          new Promise<void>((resolve) => {
            server.close(() => resolve());
            server.closeAllConnections();
          }),
      );
      await Promise.all(closed);
    },
  };
}
