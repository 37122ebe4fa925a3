// Pushes an image to a registry over plain HTTP: blobs in one request each, then the manifest under a tag.
import { createReadStream } from "node:fs";
import { request, type IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { DemoImageError } from "./demo-image-error.ts";

/** A blob to push, from memory or from a file. */
export interface PushBlob {
  readonly digest: string;
  readonly size: number;
  readonly content: Uint8Array | { readonly file: string };
}

/** An image ready to be pushed: its blobs and the exact bytes of its manifest. */
export interface PushableImage {
  readonly mediaType: string;
  readonly manifest: Uint8Array;
  readonly digest: string;
  readonly blobs: readonly PushBlob[];
}

/** Where to push: `registryUrl` like `http://127.0.0.1:5000`, and who hears how many bytes have gone up. */
export interface PushTarget {
  readonly registryUrl: string;
  readonly repository: string;
  readonly tag: string;
  readonly onBytes?: (bytes: number) => void;
}

/**
 * Pushes the blobs the repository lacks and tags the manifest (OCI distribution-spec, "Pushing manifests", with
 * monolithic uploads by POST then PUT); returns the bytes uploaded.
 * @throws DemoImageError PUSH_REFUSED
 */
export async function pushImage(image: PushableImage, target: PushTarget): Promise<number> {
  const base = new URL(`/v2/${target.repository}/`, target.registryUrl);
  let uploaded = 0;
  for (const blob of image.blobs) {
    const head = await send("HEAD", new URL(`blobs/${blob.digest}`, base), [200, 404]);
    if (head.statusCode === 200) continue;
    const upload = await send("POST", new URL("blobs/uploads/", base), [202]);
    const location = new URL(upload.headers.location ?? "", base);
    location.searchParams.set("digest", blob.digest);
    const done = uploaded;
    await send("PUT", location, [201], {
      type: "application/octet-stream",
      size: blob.size,
      content: openContent(blob, (bytes) => target.onBytes?.(done + bytes)),
    });
    uploaded += blob.size;
  }
  await send("PUT", new URL(`manifests/${target.tag}`, base), [201], {
    type: image.mediaType,
    size: image.manifest.length,
    content: Readable.from([image.manifest]),
  });
  return uploaded;
}

function openContent({ content }: PushBlob, onBytes: (bytes: number) => void): Readable {
  const source =
    "file" in content ? createReadStream(content.file, { highWaterMark: 1 << 20 }) : Readable.from([content]);
  let bytes = 0;
  source.on("data", (chunk: Uint8Array) => onBytes((bytes += chunk.length)));
  return source.pause();
}

interface Body {
  readonly type: string;
  readonly size: number;
  readonly content: Readable;
}

async function send(method: string, url: URL, expected: readonly number[], body?: Body): Promise<IncomingMessage> {
  const headers = body ? { "content-type": body.type, "content-length": body.size } : { "content-length": 0 };
  const call = request(url, { method, headers });
  const answer = new Promise<IncomingMessage>((resolve, reject) => call.on("response", resolve).on("error", reject));
  const [response] = await Promise.all([answer, body ? pipeline(body.content, call) : call.end()]);
  const text = Buffer.concat(await response.toArray()).toString();
  if (expected.includes(response.statusCode ?? 0)) return response;
  throw new DemoImageError("PUSH_REFUSED", {
    operation: method,
    subject: url.href,
    got: `${response.statusCode} ${text.slice(0, 200)}`.trim(),
    want: expected.join(" or "),
  });
}
