// Stands between a client and a registry and counts the bytes that pass, headers and all.
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

/** A running proxy: clients use `host` (like `127.0.0.1:41234`) as the registry's name. */
export interface CountingProxy {
  readonly host: string;
  /** Bytes sent by the registry since the last call. */
  takeBytesRead(): number;
  close(): Promise<void>;
}

/** Forwards every TCP connection to `targetPort` on the loopback. */
export async function createCountingProxy(targetPort: number): Promise<CountingProxy> {
  let bytesRead = 0;
  const open = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(targetPort, "127.0.0.1");
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on("close", () => open.delete(socket));
      socket.on("error", () => {
        client.destroy();
        upstream.destroy();
      });
    }
    upstream.on("data", (chunk) => {
      bytesRead += chunk.length;
    });
    client.pipe(upstream).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    takeBytesRead() {
      const taken = bytesRead;
      bytesRead = 0;
      return taken;
    },
    async close() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
