// Talks to a Lighter backend's HTTP API for the commands that see and steer releases.
import type { Command } from "commander";
import { LighterError } from "../core/errors.ts";

/** How the commands find their backend. */
export interface ApiOptions {
  readonly api?: string;
  readonly key?: string;
  readonly json?: boolean;
}

/** The backend said no: `code` is the problem's title, or HTTP_<status>. */
export class ApiError extends LighterError {
  override readonly name = "ApiError";
  readonly status: number;

  constructor(status: number, code: string, facts: ConstructorParameters<typeof LighterError>[1]) {
    super(code, facts);
    this.status = status;
  }
}

/** Adds the options by which a command finds its backend. */
export function addApiOptions(command: Command): Command {
  return command
    .option("--api <url>", "the backend, e.g. https://lighter.azurewebsites.net/api (default: $LIGHTER_API)")
    .option("--key <key>", "a function or host key (default: $LIGHTER_KEY)")
    .option("--json", "print one JSON object");
}

interface Problem {
  readonly title?: string;
  readonly detail?: string;
}

/**
 * Calls the API; `path` is below the API's root.
 * @throws ApiError for every answer that is no success; LighterError API_MISSING, API_UNREACHABLE
 */
export async function callApi(options: ApiOptions, method: string, path: string, body?: unknown): Promise<unknown> {
  const root = options.api ?? process.env["LIGHTER_API"];
  const key = options.key ?? process.env["LIGHTER_KEY"];
  if (!root) {
    throw new LighterError("API_MISSING", {
      operation: "find backend",
      subject: "--api",
      got: "neither the option nor LIGHTER_API",
      want: "the URL that `lighter up` printed, or your function app's",
    });
  }
  if (!/^https?:/.test(root) || !URL.canParse(root)) {
    throw new LighterError("API_MISSING", {
      operation: "find backend",
      subject: "--api",
      got: root,
      want: "a URL, e.g. https://lighter.azurewebsites.net/api",
    });
  }
  const url = new URL(path, root.endsWith("/") ? root : `${root}/`);
  let response: Response;
  try {
    response = await fetch(url, {
      method,
      headers: { "content-type": "application/json", ...(key === undefined ? {} : { "x-functions-key": key }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch (cause) {
    throw new LighterError("API_UNREACHABLE", {
      operation: method,
      subject: url.href,
      got: String((cause as Error).cause ?? cause),
      retryable: true,
      cause,
    });
  }
  const text = await response.text();
  if (response.ok) return text === "" ? undefined : JSON.parse(text);
  if (response.status === 401) {
    throw new ApiError(401, "HTTP_401", {
      operation: method,
      subject: url.pathname,
      got: key === undefined ? "401, no key was given" : "401, the key does not open it",
      want: "a function or host key by --key or LIGHTER_KEY",
    });
  }
  const problem = readProblem(text);
  throw new ApiError(response.status, problem.title ?? `HTTP_${response.status}`, {
    operation: method,
    subject: url.pathname,
    got: `${response.status} ${problem.detail ?? text.slice(0, 200)}`.trim(),
  });
}

function readProblem(text: string): Problem {
  try {
    return JSON.parse(text) as Problem;
  } catch {
    return {};
  }
}
