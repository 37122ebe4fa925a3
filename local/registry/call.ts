// One request as handlers see it.
import type { IncomingMessage } from "node:http";
import type { Principal } from "./auth.ts";
import { refuse } from "./refusal.ts";

/** A request after routing and authorization. */
export interface Call {
  readonly request: IncomingMessage;
  readonly method: string;
  /** The path as sent, without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly who: Principal | "unknown" | undefined;
  /** The label that the request is counted under. */
  readonly client: string;
}

/** Refuses a method that a path does not offer: 405 UNSUPPORTED with `Allow`. */
export function refuseMethod(call: Call, ...allowed: string[]): never {
  return refuse("UNSUPPORTED", {
    operation: call.method,
    subject: call.path,
    want: allowed.join(" or "),
    headers: { Allow: allowed.join(", ") },
  });
}

/** Reads a whole body of at most `limit` bytes; refuses a longer one with 413 SIZE_INVALID, the connection kept. */
export async function readBody(request: IncomingMessage, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.byteLength;
    if (size > limit) {
      refuse("SIZE_INVALID", {
        operation: "read body of",
        subject: request.url ?? "",
        got: `more than ${limit} bytes`,
        want: `at most ${limit} bytes`,
        status: 413,
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
