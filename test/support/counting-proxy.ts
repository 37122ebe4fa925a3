// A TCP proxy that counts the bytes between clients and a server, headers and all.
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

/** A running proxy. */
export interface CountingProxy {
  /** Where clients connect, e.g. `127.0.0.1:41234`. */
  readonly host: string;
  /** Bytes since the last call: `down` from the server, `up` to it. */
  take(): { readonly down: number; readonly up: number };
  close(): Promise<void>;
}

/** Starts a proxy on a free port of the loopback for the server at `target`, e.g. `127.0.0.1:5000`. */
export async function startCountingProxy(target: string): Promise<CountingProxy> {
  const { hostname, port } = new URL(`tcp://${target}`);
  const sockets = new Set<Socket>();
  let down = 0;
  let up = 0;
  const track = (socket: Socket, other: Socket): void => {
    sockets.add(socket);
    socket.on("error", () => other.destroy());
    socket.on("close", () => {
      sockets.delete(socket);
      other.destroy();
    });
  };
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    track(client, upstream);
    track(upstream, client);
    client.on("data", (chunk) => (up += chunk.length));
    upstream.on("data", (chunk) => (down += chunk.length));
    client.pipe(upstream);
    upstream.pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    take() {
      const taken = { down, up };
      down = 0;
      up = 0;
      return taken;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
