// The log of a run: an append blob that grows until its metadata says `complete`.
import { AcrTasksError, type AcrTasksErrorCode } from "./acr-tasks-error.ts";
import type { ArmAnswer } from "./arm-http.ts";
import type { AcrTasksClient } from "./client.ts";

/** A part of a log. */
export interface LogPart {
  readonly text: string;
  /** Where the next part begins. */
  readonly end: number;
  /** Whether nothing will follow. */
  readonly complete: boolean;
}

type LogSource = Pick<AcrTasksClient, "blobs" | "getLogLink">;

const COMPLETE = "x-ms-meta-complete";
/** Errors after which there is no log, rather than no service. */
const ABSENT: readonly AcrTasksErrorCode[] = ["LOG_MISSING", "NOT_FOUND", "REQUEST_REFUSED", "DENIED"];

/**
 * Reads what a log has from byte `start` on; a negative `start` counts from the end.
 * @throws AcrTasksError LOG_MISSING when there is no log
 */
export async function readLog(client: LogSource, runId: string, start: number): Promise<LogPart> {
  const operation = "read log of run";
  const url = new URL(await client.getLogLink(runId));
  const ask = (method: "GET" | "HEAD", headers: Readonly<Record<string, string>> = {}): Promise<ArmAnswer> =>
    client.blobs.sendToBlob({ operation, subject: runId, method, url, headers, accept: [404, 416] });
  const head = await ask("HEAD");
  if (head.status === 404) throw missing(operation, runId);
  const size = Number(head.header("content-length") ?? 0);
  const complete = head.header(COMPLETE) !== undefined;
  const from = start < 0 ? Math.max(0, size + start) : start;
  if (from >= size) return { text: "", end: from, complete };
  const part = await ask("GET", { "x-ms-range": `bytes=${from}-${size - 1}` });
  if (part.status === 404) throw missing(operation, runId);
  return part.status === 416 ? { text: "", end: from, complete: false } : { text: part.text, end: size, complete };
}

/** The same, or undefined where the service has no log to show. */
export async function tryReadLog(client: LogSource, runId: string, start: number): Promise<LogPart | undefined> {
  try {
    return await readLog(client, runId, start);
  } catch (error) {
    if (error instanceof AcrTasksError && ABSENT.includes(error.code)) return undefined;
    throw error;
  }
}

function missing(operation: string, runId: string): AcrTasksError {
  return new AcrTasksError("LOG_MISSING", { operation, subject: runId, got: "no log" });
}

const MAX_TAIL_LINES = 20;
const MAX_TAIL_CHARACTERS = 2_000;
/** Escape sequences of terminals (ECMA-48), then other control characters but for line ends. */
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const CONTROLS = /\u001B\[[0-?]*[ -/]*[@-~]|[\u0000-\u0008\u000B-\u001F\u007F]/g;

/** The last lines of a log as people read them. */
export function shortenLog(text: string): string {
  const lines = text.replaceAll(/\r\n?/g, "\n").replaceAll(CONTROLS, "").trimEnd().split("\n");
  return lines.slice(-MAX_TAIL_LINES).join("\n").slice(-MAX_TAIL_CHARACTERS);
}
