// Pushes a built image: blobs that the repository lacks are mounted or uploaded, then the manifest is tagged.
import { createReadStream } from "node:fs";
import { request, type IncomingMessage } from "node:http";
import { request as requestSecurely } from "node:https";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import type { RegistryCredential } from "../../edge-device/registry-client.ts";
import type { ImageName } from "../image-names.ts";
import { RunError } from "../run-error.ts";

/** A blob of an image: a file, and the repositories of which registry that hold it already. */
export interface ImageBlob {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly file: string;
  readonly origin?: { readonly registry: string; readonly repository: string };
}

/** An image to be pushed: its blobs and its manifest's bytes. */
export interface PushableImage {
  readonly blobs: readonly ImageBlob[];
  readonly mediaType: string;
  readonly manifest: Buffer;
  readonly digest: string;
}

interface Body {
  readonly type: string;
  readonly size: number;
  readonly content: Readable;
}

const LOOPBACK = /^(?:localhost|127(?:\.\d+){3})(?::\d+)?$/;
const MAX_ANSWER = 64 << 10;

/** Pushes (OCI distribution-spec, "Push"), with Basic credentials where there are some. @throws RunError PUSH_FAILED */
export async function pushImage(
  image: PushableImage,
  name: ImageName,
  credentials: readonly RegistryCredential[],
  signal: AbortSignal,
): Promise<void> {
  const base = new URL(`${LOOPBACK.test(name.registry) ? "http" : "https"}://${name.registry}/v2/${name.repository}/`);
  const login = credentials.find(({ address }) => address === name.registry);
  const authorization: Record<string, string> =
    login === undefined
      ? {}
      : { authorization: `Basic ${Buffer.from(`${login.username}:${login.password}`).toString("base64")}` };

  const send = async (method: string, url: URL, expected: readonly number[], body?: Body): Promise<IncomingMessage> => {
    const headers = { ...authorization, "content-length": body?.size ?? 0, ...(body && { "content-type": body.type }) };
    const call = (url.protocol === "http:" ? request : requestSecurely)(url, { method, headers, signal });
    const answer = new Promise<IncomingMessage>((resolve, reject) => call.on("response", resolve).on("error", reject));
    const facts = { operation: method, subject: `${url.host}${url.pathname}` };
    let response: IncomingMessage;
    try {
      [response] = await Promise.all([answer, body === undefined ? call.end() : pipeline(body.content, call)]);
    } catch (cause) {
      signal.throwIfAborted();
      throw new RunError("PUSH_FAILED", { ...facts, got: String(cause), cause, retryable: true });
    }
    const text = Buffer.concat(await response.toArray()).toString("utf8", 0, MAX_ANSWER);
    if (expected.includes(response.statusCode ?? 0)) return response;
    const got = `${response.statusCode} ${text.slice(0, 200)}`.trim();
    throw new RunError("PUSH_FAILED", { ...facts, got, want: expected.join(" or ") });
  };

  for (const { digest, size, file, origin } of image.blobs) {
    const head = await send("HEAD", new URL(`blobs/${digest}`, base), [200, 404]);
    if (head.statusCode === 200) continue;
    const start = new URL("blobs/uploads/", base);
    if (origin?.registry === name.registry && origin.repository !== name.repository) {
      start.searchParams.set("mount", digest);
      start.searchParams.set("from", origin.repository);
    }
    const upload = await send("POST", start, [201, 202]);
    if (upload.statusCode === 201) continue;
    const location = new URL(upload.headers.location ?? "", base);
    location.searchParams.set("digest", digest);
    const content = createReadStream(file, { highWaterMark: 1 << 20 });
    await send("PUT", location, [201], { type: "application/octet-stream", size, content });
  }
  await send("PUT", new URL(`manifests/${name.tag}`, base), [201], {
    type: image.mediaType,
    size: image.manifest.length,
    content: Readable.from([image.manifest]),
  });
}
