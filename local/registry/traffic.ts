// Counts what each client really moved over its sockets.
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";

/**
 * One client's traffic.
 *
 * Bytes are those of the TCP payload, as the sockets count them: status or request line, headers, chunk framing and
 * body, of every response whatever its status; not counted are TCP/IP and lower headers and retransmissions. A byte
 * counts when it is handed to the kernel: of a client that breaks off, what the kernel's buffers still held is counted
 * though it was never read. When requests are pipelined, a response counts for the client of the request read last.
 */
export interface Traffic {
  readonly requests: number;
  readonly connections: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
}

/** Attributes socket bytes to client labels. */
export interface TrafficCounter {
  /** Notes a new connection; all of it belongs to `label` if the listener has one, even bytes that make no request. */
  connected(socket: Socket, label: string | undefined): void;
  /** From here on the socket's bytes, including the request just read, belong to `label`. */
  requested(request: IncomingMessage, label: string): void;
  /** What `label` has moved until now, open connections included; zeros for an unknown label. */
  read(label: string): Traffic;
  labels(): string[];
}

interface Tally {
  requests: number;
  connections: number;
  requestBytes: number;
  responseBytes: number;
}
interface Meter {
  label: string | undefined;
  read: number;
  written: number;
}

/** Creates the counter; it keeps one tally per label it has seen. */
export function createTrafficCounter(): TrafficCounter {
  const tallies = new Map<string, Tally>();
  const meters = new Map<Socket, Meter>();

  const tallyOf = (label: string): Tally => {
    const tally = tallies.get(label) ?? { requests: 0, connections: 0, requestBytes: 0, responseBytes: 0 };
    tallies.set(label, tally);
    return tally;
  };
  const settle = (socket: Socket, meter: Meter): void => {
    if (meter.label === undefined) return;
    const tally = tallyOf(meter.label);
    tally.requestBytes += socket.bytesRead - meter.read;
    tally.responseBytes += socket.bytesWritten - meter.written;
    meter.read = socket.bytesRead;
    meter.written = socket.bytesWritten;
  };

  return {
    connected(socket, label) {
      const meter: Meter = { label, read: 0, written: 0 };
      if (label !== undefined) tallyOf(label).connections += 1;
      meters.set(socket, meter);
      socket.once("close", () => {
        settle(socket, meter);
        meters.delete(socket);
      });
    },
    requested({ socket }, label) {
      const meter = meters.get(socket);
      if (meter === undefined) return;
      if (meter.label === undefined) tallyOf(label).connections += 1;
      else settleWritten(socket, meter, meter.label);
      meter.label = label;
      tallyOf(label).requests += 1;
    },
    read(label) {
      for (const [socket, meter] of meters) settle(socket, meter);
      return { ...(tallies.get(label) ?? { requests: 0, connections: 0, requestBytes: 0, responseBytes: 0 }) };
    },
    labels: () => [...tallies.keys()].sort(),
  };

  /** The earlier request's response belongs to its own label; what was read since belongs to the new one. */
  function settleWritten(socket: Socket, meter: Meter, label: string): void {
    tallyOf(label).responseBytes += socket.bytesWritten - meter.written;
    meter.written = socket.bytesWritten;
  }
}
