// A whole program that does the least any rebase must do: gunzip and sha256 of blobs, given as files or URLs.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { get } from "node:http";
import type { Readable } from "node:stream";
import { createGunzip } from "node:zlib";

const READ_BYTES = 1 << 20;
const INFLATE_BYTES = 256 << 10;

async function open(source: string): Promise<Readable> {
  if (!source.startsWith("http:")) return createReadStream(source, { highWaterMark: READ_BYTES });
  return await new Promise((resolve, reject) => {
    get(source, (response) => {
      if (response.statusCode === 200) resolve(response);
      else reject(new Error(`GET ${source} answered ${response.statusCode}`));
    }).on("error", reject);
  });
}

/** Reads one blob to its end; resolves to its digest and uncompressed size. */
async function readBlob(source: string): Promise<{ digest: string; bytes: number }> {
  const hash = createHash("sha256");
  const gunzip = createGunzip({ chunkSize: INFLATE_BYTES });
  let bytes = 0;
  const inflated = new Promise<void>((resolve, reject) => {
    gunzip
      .on("data", (chunk: Buffer) => {
        bytes += chunk.length;
      })
      .on("end", resolve)
      .on("error", reject);
  });
  for await (const chunk of await open(source)) {
    hash.update(chunk as Buffer);
    if (!gunzip.write(chunk)) await new Promise((resolve) => gunzip.once("drain", resolve));
  }
  gunzip.end();
  await inflated;
  return { digest: `sha256:${hash.digest("hex")}`, bytes };
}

const results = await Promise.all(process.argv.slice(2).map(readBlob));
process.stdout.write(`${JSON.stringify(results)}\n`);
