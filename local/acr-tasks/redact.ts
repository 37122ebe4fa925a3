// Keeps secrets out of a log: replaces them in whatever text passes, also where chunks cut them.

/** Passes text on with every secret replaced. */
export interface Redactor {
  /** Adds secrets; empty ones are left out, because they are everywhere. */
  add(...secrets: readonly string[]): void;
  /** The part of the text so far that can be shown; the rest waits for its line to end. */
  push(text: string): string;
  /** What still waits. */
  flush(): string;
}

const MASK = "***";
/** A line that does not end is shown in pieces of this many characters. */
const MAX_LINE = 64 * 1024;

/** Creates a redactor that works line by line; a secret of several lines is masked line by line. */
export function createRedactor(): Redactor {
  let secrets: string[] = [];
  let waiting = "";
  const mask = (text: string): string => secrets.reduce((masked, secret) => masked.replaceAll(secret, MASK), text);
  return {
    add(...more) {
      const lines = more.flatMap((secret) => secret.split(/\r?\n/)).filter((line) => line !== "");
      // The longest first, lest a part of one is masked and the rest shown.
      secrets = [...new Set([...secrets, ...lines])].sort((a, b) => b.length - a.length);
    },
    push(text) {
      waiting += text;
      const longest = secrets[0]?.length ?? 0;
      const end = waiting.lastIndexOf("\n") + 1;
      // An overlong line is cut where no secret can be cut with it.
      const cut = end > 0 ? end : waiting.length > MAX_LINE + longest ? masked() : 0;
      const shown = mask(waiting.slice(0, cut));
      waiting = waiting.slice(cut);
      return shown;
    },
    flush() {
      const shown = mask(waiting);
      waiting = "";
      return shown;
    },
  };

  function masked(): number {
    waiting = mask(waiting);
    return Math.max(0, waiting.length - (secrets[0]?.length ?? 0));
  }
}
