// HTTP over node:http and node:https: one exchange at a time, bodies streamed both ways, nothing hangs for ever.
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

// Importing node:http as a module reads all its exports, one of which loads the whole of fetch: 40 ms at every start.
const http = process.getBuiltinModule("node:http");
const https = process.getBuiltinModule("node:https");

/** One request. */
export interface TransportRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | AsyncIterable<Uint8Array>;
}

/** An answer whose body is yet to be read (once) or discarded. */
export interface TransportResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly url: URL;
  /** Streams the body; a cut connection or silence throws, ending early closes the connection. */
  readBody(): AsyncIterable<Uint8Array>;
  /** Frees the connection, for the next request if little is left to read; never fails. */
  discard(): Promise<void>;
}

/** Sends requests; `close` drops all connections. */
export interface Transport {
  send(request: TransportRequest): Promise<TransportResponse>;
  close(): void;
}

/** Limits of a transport: silence longer than `idleTimeoutMs` while an answer is due fails the request. */
export interface TransportOptions {
  readonly idleTimeoutMs: number;
}

/** Bytes gathered before the connection is paused; chunks of a body are at most about this large. */
const READ_AHEAD_BYTES = 1024 * 1024;
/** Bodies above this are sent slice by slice, so that a slow upload counts as progress. */
const SLICE_BYTES = 256 * 1024;
/** Unread bodies up to this size are read to the end, which keeps the connection for the next request. */
const MAX_DRAIN_BYTES = 64 * 1024;

/** Creates a transport with its own pools of kept-alive connections; idle ones do not keep the process running. */
export function createTransport({ idleTimeoutMs }: TransportOptions): Transport {
  // The http client gives its responses the read-ahead of the socket, which the agent hands to net.connect.
  const agentOptions = {
    keepAlive: true,

    scheduling: "lifo",
    highWaterMark: READ_AHEAD_BYTES,
  } as const;
  const plainAgent = new http.Agent(agentOptions);
  // Proxies of the environment are for the world outside; plain http never leaves this machine.
  const tlsAgent = new https.Agent({ ...agentOptions, proxyEnv: process.env });

  const exchange = (request: TransportRequest, mayRepeat: boolean): Promise<TransportResponse> =>
    new Promise((resolve, reject) => {
      const { url, method, headers = {}, body } = request;
      const plain = url.protocol === "http:";
      const outgoing = (plain ? http : https).request(url, { method, headers, agent: plain ? plainAgent : tlsAgent });
      const watchdog = setTimeout(() => outgoing.destroy(new SilenceError(idleTimeoutMs)), idleTimeoutMs);
      outgoing.on("error", (error: NodeJS.ErrnoException) => {
        clearTimeout(watchdog);
        // A kept connection may have been closed by the other side just before it was used again.
        const stale = outgoing.reusedSocket && (error.code === "ECONNRESET" || error.code === "EPIPE");
        if (stale && mayRepeat) resolve(exchange(request, false));
        else reject(error);
      });
      outgoing.on("response", (incoming) => {
        clearTimeout(watchdog);
        incoming.on("error", () => {});
        resolve({
          status: incoming.statusCode ?? 0,
          headers: incoming.headers,
          url,
          readBody: () => readBody(incoming, idleTimeoutMs),
          async discard() {
            const isSmall = method === "HEAD" || Number(incoming.headers["content-length"] ?? 0) <= MAX_DRAIN_BYTES;
            if (outgoing.writableFinished && isSmall) await drain(readBody(incoming, idleTimeoutMs));
            else outgoing.destroy();
          },
        });
      });
      if (body === undefined) outgoing.end();
      else if (body instanceof Uint8Array && body.length <= SLICE_BYTES) outgoing.end(body);
      else {
        const slices = watchProgress(body instanceof Uint8Array ? slice(body) : body, () => watchdog.refresh());
        pipeline(Readable.from(slices, { objectMode: false }), outgoing).catch((error: Error) => {
          clearTimeout(watchdog);
          reject(error);
          outgoing.destroy(error);
        });
      }
    });

  return {
    send: (request) => exchange(request, request.method === "GET" || request.method === "HEAD"),
    close() {
      plainAgent.destroy();
      tlsAgent.destroy();
    },
  };
}

/** The other side said nothing for too long. */
class SilenceError extends Error {
  readonly code = "ETIMEDOUT";
  constructor(ms: number) {
    super(`no bytes for ${ms} ms`);
  }
}

async function* readBody(incoming: IncomingMessage, idleTimeoutMs: number): AsyncGenerator<Uint8Array> {
  let waiting = true;
  // Only silence while we wait counts: a slow consumer is no fault of the registry.
  const watchdog = setTimeout(() => {
    if (waiting) incoming.destroy(new SilenceError(idleTimeoutMs));
  }, idleTimeoutMs);
  try {
    for await (const chunk of incoming as AsyncIterable<Uint8Array>) {
      waiting = false;
      yield chunk;
      waiting = true;
      watchdog.refresh();
    }
  } finally {
    clearTimeout(watchdog);
  }
}

async function drain(body: AsyncIterable<Uint8Array>): Promise<void> {
  let size = 0;
  try {
    for await (const chunk of body) {
      size += chunk.length;
      if (size > MAX_DRAIN_BYTES) return;
    }
  } catch {
    // A connection that breaks now is as free as one that was read to the end.
  }
}

async function* watchProgress(
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  progress: () => void,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of body) {
    progress();
    yield chunk;
  }
}

function* slice(bytes: Uint8Array): Generator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += SLICE_BYTES) yield bytes.subarray(start, start + SLICE_BYTES);
}

/** The body as bytes, at most `limit`; undefined when there is more, in which case the connection is closed. */
export async function readUpTo(response: TransportResponse, limit: number): Promise<Buffer | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.readBody()) {
    size += chunk.length;
    if (size > limit) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}
