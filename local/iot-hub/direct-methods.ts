// Direct methods: calls that wait for a device to connect and to answer, within the caller's timeouts.
import type { Clock } from "../clock.ts";
import type { Connections } from "./connections.ts";
import { badRequest } from "./iot-hub-error.ts";
import { type Json, type JsonObject, sizeOf } from "./json.ts";

/** A failed call; the service wraps its facts as JSON inside the message. */
export class DirectMethodError extends Error {
  override readonly name = "DirectMethodError";
  readonly status: 404 | 504;
  readonly errorCode: number;
  readonly label: string;

  constructor(status: 404 | 504, errorCode: number, label: string, message: string) {
    super(message);
    this.status = status;
    this.errorCode = errorCode;
    this.label = label;
  }

  /** The body as the service sends it: the facts are text within the message. */
  render(trackingId: string, nowMs: number): JsonObject {
    const facts = {
      errorCode: this.errorCode,
      trackingId,
      message: this.message,
      timestampUtc: new Date(nowMs).toISOString(),
    };
    return { Message: JSON.stringify(facts), ExceptionMessage: "" };
  }
}

/** A call as its request describes it. */
export interface MethodCall {
  readonly methodName: string;
  readonly payload: unknown;
  readonly responseTimeoutMs: number;
  readonly connectTimeoutMs: number;
}

/** Calls methods on connected devices. */
export interface DirectMethods {
  /** Calls a module (`""` is the device itself); resolves to what it answers, throws DirectMethodError. */
  invoke(deviceId: string, moduleId: string, call: MethodCall): Promise<{ status: number; payload: unknown }>;
}

const MAX_PAYLOAD_BYTES = 128 * 1024;

function readTimeout(value: Json | undefined, preset: number, least: number, name: string): number {
  const seconds = value ?? preset;
  if (typeof seconds !== "number" || seconds < least || seconds > 300)
    throw badRequest(`${name} must be from ${least} to 300`);
  return seconds * 1_000;
}

/** Reads a request's body; throws IotHubError ArgumentInvalid. */
export function readMethodCall(body: JsonObject): MethodCall {
  const { methodName, payload = null } = body;
  if (typeof methodName !== "string" || methodName === "") throw badRequest("methodName is missing");
  if (sizeOf(payload) > MAX_PAYLOAD_BYTES) throw badRequest(`payload is larger than ${MAX_PAYLOAD_BYTES} bytes`);
  return {
    methodName,
    payload,
    responseTimeoutMs: readTimeout(body["responseTimeoutInSeconds"], 30, 5, "responseTimeoutInSeconds"),
    connectTimeoutMs: readTimeout(body["connectTimeoutInSeconds"], 0, 0, "connectTimeoutInSeconds"),
  };
}

const notOnline = (): DirectMethodError =>
  new DirectMethodError(
    404,
    404_103,
    "DeviceNotOnline",
    "The operation failed because the requested device isn't online or hasn't registered the direct method callback.",
  );

/** Creates the caller; timeouts run by the clock. */
export function createDirectMethods(connections: Connections, clock: Clock): DirectMethods {
  const waitForConnection = (deviceId: string, ms: number): Promise<void> =>
    new Promise((resolve) => {
      const stop = connections.onceConnected(deviceId, () => {
        cancel();
        resolve();
      });
      const cancel = clock.after(ms, () => {
        stop();
        resolve();
      });
    });
  const orTimeout = <T>(answer: Promise<T>, ms: number): Promise<T> =>
    new Promise((resolve, reject) => {
      const cancel = clock.after(ms, () =>
        reject(
          new DirectMethodError(504, 504_101, "GatewayTimeout", "Timed out waiting for the response from device."),
        ),
      );
      answer.then(resolve, reject).finally(cancel);
    });

  return {
    async invoke(deviceId, moduleId, call) {
      if (connections.handlersOf(deviceId) === undefined && call.connectTimeoutMs > 0)
        await waitForConnection(deviceId, call.connectTimeoutMs);
      const handlers = connections.handlersOf(deviceId);
      if (handlers?.method === undefined) throw notOnline();
      return orTimeout(handlers.method(moduleId, call.methodName, call.payload), call.responseTimeoutMs);
    },
  };
}
