// HTTP to Azure Resource Manager and to the blobs it hands out links to: tokens, retries, typed failures.
import type { TokenCredential } from "@azure/core-auth";
import {
  bearerTokenAuthenticationPolicy,
  createDefaultHttpClient,
  createEmptyPipeline,
  createHttpHeaders,
  createPipelineRequest,
  type HttpClient,
  type HttpMethods,
  type Pipeline,
  type PipelineResponse,
} from "@azure/core-rest-pipeline";
import { z } from "zod";
import { parseRetryAfter, retry, type RetryPolicy } from "../registry/retry.ts";
import { AcrTasksError, type AcrTasksErrorCode } from "./acr-tasks-error.ts";

/** One request; the answer's status must be below 400, or one of `accept`. */
interface ArmRequest {
  /** What is done to what, for error messages. */
  readonly operation: string;
  readonly subject: string;
  readonly method: HttpMethods;
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly accept?: readonly number[];
}

/** An answer that was read to its end. */
export interface ArmAnswer {
  readonly status: number;
  readonly text: string;
  header(name: string): string | undefined;
}

/** Sends requests: to ARM with a token, to blobs with nothing but the signature in their links. */
export interface ArmHttp {
  /** @throws AcrTasksError */
  send(request: ArmRequest): Promise<ArmAnswer>;
  /** @throws AcrTasksError */
  sendToBlob(request: ArmRequest): Promise<ArmAnswer>;
}

/** How ARM is reached. */
export interface ArmHttpOptions {
  /** `https://management.azure.com`, another cloud's, or plain http on this machine. */
  readonly endpoint: URL;
  readonly credential: () => Promise<TokenCredential>;
  readonly retry: RetryPolicy;
}

const PUBLIC_SCOPE = "https://management.azure.com/.default";
const TRANSIENT = new Set([408, 429, 500, 502, 503, 504]);
/** Silence after which a request is given up; longer than any of these calls should take. */
const TIMEOUT_MS = 60_000;
const MAX_DETAIL = 300;

/** Whether a URL may carry a token or a signature: https, or plain http that does not leave this machine. */
function isPrivate({ protocol, hostname }: URL): boolean {
  return protocol === "https:" || (protocol === "http:" && isLoopback(hostname));
}

/** Whether a host name is this machine's own. */
export function isLoopback(hostname: string): boolean {
  return /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/i.test(hostname);
}

/**
 * Creates the client. Answers 408, 429 and 5xx and broken connections are tried again, after `Retry-After` where given.
 * @throws AcrTasksError ENDPOINT_INSECURE for plain http to another machine
 */
export function createArmHttp({ endpoint, credential, retry: policy }: ArmHttpOptions): ArmHttp {
  requirePrivate(endpoint, "use endpoint");
  const scope = isLoopback(endpoint.hostname) ? PUBLIC_SCOPE : `${endpoint.origin}/.default`;
  const client = createPlainHttpClient();
  let authorized: Promise<Pipeline> | undefined;
  const authorize = (): Promise<Pipeline> => {
    authorized ??= credential().then((credential) => {
      const pipeline = createEmptyPipeline();
      pipeline.addPolicy(bearerTokenAuthenticationPolicy({ credential, scopes: scope }));
      return pipeline;
    });
    // A credential that could not be loaded is looked for again.
    authorized.catch(() => (authorized = undefined));
    return authorized;
  };
  const anonymous = createEmptyPipeline();

  const send = (request: ArmRequest, pipelineOf: () => Promise<Pipeline>): Promise<ArmAnswer> =>
    retry(policy, async () => {
      requirePrivate(request.url, request.operation);
      const url = new URL(request.url);
      // The SDK's token policy insists on https; the client below turns it back for this machine.
      url.protocol = "https:";
      let response: PipelineResponse;
      try {
        const pipeline = await pipelineOf();
        response = await pipeline.sendRequest(
          client(request.url.protocol),
          createPipelineRequest({
            method: request.method,
            url: url.href,
            headers: createHttpHeaders({ ...request.headers }),
            timeout: TIMEOUT_MS,
            ...(request.body === undefined ? {} : { body: request.body }),
          }),
        );
      } catch (cause) {
        return { failed: failByConnection(request, cause) };
      }
      const { status, headers, bodyAsText } = response;
      if (status < 400 || request.accept?.includes(status) === true)
        return { done: { status, text: bodyAsText ?? "", header: (name: string) => headers.get(name) } };
      const afterMs = parseRetryAfter(headers.get("retry-after"), policy.now());
      return { failed: failByAnswer(request, status, bodyAsText ?? ""), ...(afterMs === undefined ? {} : { afterMs }) };
    });

  return {
    send: (request) => send(request, authorize),
    sendToBlob: (request) => send(request, async () => anonymous),
  };
}

/** The default client, with the protocol put back to what was asked for. */
function createPlainHttpClient(): (protocol: string) => HttpClient {
  const base = createDefaultHttpClient();
  return (protocol) => ({
    sendRequest(request) {
      if (protocol === "http:") {
        request.url = request.url.replace(/^https:/, "http:");
        request.allowInsecureConnection = true;
      }
      return base.sendRequest(request);
    },
  });
}

function requirePrivate(url: URL, operation: string): void {
  if (isPrivate(url)) return;
  throw new AcrTasksError("ENDPOINT_INSECURE", {
    operation,
    subject: url.origin,
    got: url.protocol,
    want: "https, or http on this machine",
  });
}

const armErrorSchema = z.object({ error: z.object({ code: z.string(), message: z.string() }) });

/** The error of an answer; ARM says `{"error":{"code","message"}}`, storage says XML. */
function failByAnswer({ operation, subject }: ArmRequest, status: number, text: string): AcrTasksError {
  const arm = readArmError(text);
  const detail = squeeze(arm === undefined ? text : `${arm.code}: ${arm.message}`);
  return new AcrTasksError(codeOf(status, arm?.code), {
    operation,
    subject,
    got: `status ${status}${detail === "" ? "" : ` (${detail})`}`,
    retryable: TRANSIENT.has(status),
    ...(arm === undefined ? {} : { armCode: arm.code }),
  });
}

function codeOf(status: number, armCode: string | undefined): AcrTasksErrorCode {
  if (armCode === "TasksOperationsNotAllowed") return "TASKS_NOT_ALLOWED";
  if (status === 429) return "THROTTLED";
  if (status >= 500 || status === 408) return "UNREACHABLE";
  const known = { 401: "UNAUTHORIZED", 403: "DENIED", 404: "NOT_FOUND", 409: "CONFLICT", 412: "CONFLICT" } as const;
  return known[status as keyof typeof known] ?? "REQUEST_REFUSED";
}

function failByConnection({ operation, subject }: ArmRequest, cause: unknown): AcrTasksError {
  const { name, message, code } = cause as { name?: string; message?: string; code?: string };
  const isCredential = name === "CredentialUnavailableError" || name === "AuthenticationError";
  const isLasting = isCredential || /^(ENOTFOUND|EPROTO|ERR_|CERT|UNABLE|SELF|DEPTH)/.test(code ?? "");
  return new AcrTasksError(isCredential ? "UNAUTHORIZED" : "UNREACHABLE", {
    operation,
    subject,
    got: squeeze(message ?? code ?? "no connection"),
    retryable: !isLasting,
    cause,
  });
}

function readArmError(text: string): { readonly code: string; readonly message: string } | undefined {
  try {
    return armErrorSchema.parse(JSON.parse(text)).error;
  } catch {
    return undefined;
  }
}

function squeeze(text: string): string {
  const line = text.replaceAll(/[\s\p{Cc}]+/gu, " ").trim();
  return line.length > MAX_DETAIL ? `${line.slice(0, MAX_DETAIL)}…` : line;
}
