// Seeded text that compresses and decompresses like installed source code does.
import { createSeededBytes } from "../../local/demo/seeded-bytes.ts";

const LETTERS = "etaoinshrdlucmfwypvbgkjqxz_";
const SEPARATORS = [" ", " ", " ", " ", ".", "(", ") ", ", ", " = ", "\n    ", "\n        ", "\n", ": ", "_"];
const VOCABULARY = 4096;

/** A stream of 16-bit numbers from seeded bytes, started over when they run out. */
function createNumbers(seed: number, label: string): () => number {
  const bytes = createSeededBytes(seed, label, 1 << 22);
  let at = 0;
  return () => {
    const value = bytes.readUInt16LE(at);
    at = (at + 2) % bytes.length;
    return value;
  };
}

/**
 * `length` bytes of words and repeated phrases: gzip level 6 leaves 24 % and inflates them about as fast as real
 * JavaScript and Python sources.
 */
export function createSeededText(seed: number, length: number): Buffer {
  const next = createNumbers(seed, "text");
  const words = Array.from({ length: VOCABULARY }, () =>
    // The smaller of two draws: frequent letters stay frequent.
    Array.from({ length: 2 + (next() % 9) }, () => LETTERS[Math.min(next() % 27, next() % 27)]).join(""),
  );
  const text = Buffer.alloc(length);
  let at = 0;
  while (at < length) {
    if (next() % 4 === 0 && at > 4096) {
      const from = at - 64 - (next() % Math.min(at - 64, 16_384));
      at += text.copy(text, at, from, from + 8 + (next() % 56));
    } else {
      const rank = Math.floor(VOCABULARY * (next() / 65_536) ** 3);
      at += text.write(`${words[rank]}${SEPARATORS[next() % SEPARATORS.length]}`, at, "latin1");
    }
  }
  return text;
}
