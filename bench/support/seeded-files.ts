// Seeded files for large fixtures: sizes as in an installed environment, content cut from a pool of text and noise.
import { createSeededBytes } from "../../local/demo/seeded-bytes.ts";
import { createSeededText } from "./seeded-text.ts";

const POOL_BYTES = 16 << 20;

/**
 * Makes a file that opens with its own name; `binaryShare` of its bytes do not compress. `offset` says where in the
 * pools to cut: neighbours that continue each other's offsets resemble each other, as the modules of a package do.
 */
export type MakeFile = (name: string, size: number, binaryShare: number, offset: number) => Buffer;

/** Prepares the pools that files are cut from; about 0.2 s. */
export function createFileMaker(seed: number): MakeFile {
  const text = createSeededText(seed, POOL_BYTES);
  const noise = createSeededBytes(seed, "noise", POOL_BYTES);
  return (name, size, binaryShare, offset) => {
    const content = Buffer.alloc(size);
    const binaryFrom = size - Math.round(size * binaryShare);
    const fill = (pool: Buffer, end: number): void => {
      while (at < end) {
        const from = (offset + at) % POOL_BYTES;
        at += pool.copy(content, at, from, from + end - at);
      }
    };
    let at = content.write(`# ${name}\n`, 0, "latin1");
    fill(text, binaryFrom);
    fill(noise, size);
    return content;
  };
}

/** `count` log-normal sizes (most files small, a few of megabytes) that add up to `total` bytes or a little less. */
export function createFileSizes(seed: number, label: string, count: number, total: number): number[] {
  const random = createSeededBytes(seed, `sizes/${label}`, count * 8);
  const uniform = (index: number): number => (random.readUInt32LE(index * 4) + 1) / 2 ** 32;
  const weights = Array.from({ length: count }, (_, index) => {
    const normal = Math.sqrt(-2 * Math.log(uniform(2 * index))) * Math.cos(2 * Math.PI * uniform(2 * index + 1));
    return Math.exp(1.5 * Math.max(-3, Math.min(3, normal)));
  });
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => Math.max(64, Math.floor((weight / sum) * total)));
}
