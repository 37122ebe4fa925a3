// Decides which client a request is counted for.
import type { IncomingMessage } from "node:http";
import type { Principal } from "./auth.ts";

/** The header by which a client names itself. */
const CLIENT_HEADER = "x-client";

/** A product token in User-Agent by which a client names itself, e.g. `docker/20.10 client/device-7`. */
const AGENT_TOKEN = /(?:^|[\s(])client\/([^\s;,)]+)/;

/**
 * The label to count a request under.
 *
 * In order: the listener it came through (for programs such as dockerd that cannot be told anything else), the
 * `X-Client` header, `client/<label>` in User-Agent, the authenticated name, else `anonymous`.
 */
export function labelOf(
  request: IncomingMessage,
  listener: string | undefined,
  who: Principal | "unknown" | undefined,
): string {
  if (listener !== undefined) return listener;
  const header = request.headers[CLIENT_HEADER];
  if (typeof header === "string" && header !== "") return header;
  const token = AGENT_TOKEN.exec(request.headers["user-agent"] ?? "")?.[1];
  if (token !== undefined) return token;
  return who === undefined || who === "unknown" ? "anonymous" : who.name;
}
