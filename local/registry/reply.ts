// Replies as plain data: what handlers decide and the server then writes.
import type { RegistryRefusal } from "./refusal.ts";

/** A part of a file on disk: `length` bytes from `start`. */
export interface FileSlice {
  readonly path: string;
  readonly start: number;
  readonly length: number;
}

/** An HTTP response; Content-Length is set by the writer, and a HEAD request gets the headers alone. */
export interface Reply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | FileSlice;
}

/** A JSON reply. */
export function replyJson(value: unknown, headers: Readonly<Record<string, string>> = {}, status = 200): Reply {
  return {
    status,
    headers: { "Content-Type": "application/json; charset=utf-8", ...headers },
    body: Buffer.from(JSON.stringify(value)),
  };
}

/** The error form of the OCI distribution spec: `{"errors":[{code, message, detail}]}`. */
export function replyError(
  status: number,
  code: string,
  message: string,
  options: { readonly headers?: Readonly<Record<string, string>>; readonly detail?: unknown } = {},
): Reply {
  const error = { code, message, ...(options.detail === undefined ? {} : { detail: options.detail }) };
  return replyJson({ errors: [error] }, options.headers, status);
}

/** The reply to a refused request. */
export function replyRefusal(refusal: RegistryRefusal): Reply {
  return replyError(refusal.status, refusal.code, refusal.message, refusal);
}
