// Writes replies to sockets: streaming from disk, with the damage that a fault asks for.
import { createReadStream } from "node:fs";
import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createCorruptor, type FaultEffect } from "./faults.ts";
import type { Reply } from "./reply.ts";

const READ_BYTES = 256 * 1024;

function openBody(body: NonNullable<Reply["body"]>, limit: number): Readable {
  if (body instanceof Uint8Array) return Readable.from([Buffer.from(body.subarray(0, limit))]);
  const length = Math.min(body.length, limit);
  if (length === 0) return Readable.from([]);
  return createReadStream(body.path, { start: body.start, end: body.start + length - 1, highWaterMark: READ_BYTES });
}

/**
 * Writes `reply`; resolves when it has been handed to the socket, rejects when the client went away.
 *
 * Of `effects` only truncate and corrupt matter here; they keep the headers of the undamaged reply.
 */
export async function writeReply(
  response: ServerResponse,
  method: string,
  reply: Reply,
  effects: readonly FaultEffect[],
): Promise<void> {
  const { status, headers, body } = reply;
  const length = body?.length ?? 0;
  response.writeHead(status, { ...headers, ...(status === 204 ? {} : { "Content-Length": String(length) }) });
  if (method === "HEAD" || body === undefined) {
    response.end();
    return;
  }
  const cut = effects.find((effect) => effect.kind === "truncate");
  const damage = effects.find((effect) => effect.kind === "corrupt");
  if (cut === undefined && damage === undefined && body instanceof Uint8Array) {
    response.end(body);
    return;
  }
  const isCut = cut !== undefined && cut.afterBytes < length;
  const stages = damage === undefined ? [] : [createCorruptor(damage.offset)];
  response.flushHeaders();
  await pipeline([openBody(body, isCut ? cut.afterBytes : length), ...stages, response], { end: !isCut });
  if (isCut) response.socket?.destroySoon();
}
