// Log entries of the host and of the app's functions, handed to whatever sink the host was given.

/** The levels of `context.log`, as the worker names them. */
export type LogLevel = "trace" | "debug" | "information" | "warning" | "error" | "critical" | "none";

/** One line: `user` comes from the app, `system` from the libraries, `host` from this host. */
export interface LogEntry {
  readonly level: LogLevel;
  readonly category: "user" | "system" | "host";
  readonly message: string;
  readonly functionName?: string;
  readonly invocationId?: string;
}

/** Where log entries go; must not throw. */
export type LogSink = (entry: LogEntry) => void;

/** The part of a pino logger that a sink needs. */
interface PinoLike {
  trace(details: object, message: string): void;
  debug(details: object, message: string): void;
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
  fatal(details: object, message: string): void;
}

const PINO_METHOD = {
  trace: "trace",
  debug: "debug",
  information: "info",
  warning: "warn",
  error: "error",
  critical: "fatal",
} as const;

/** Makes a sink that writes to a pino logger; `none` is dropped. */
export function createPinoSink(logger: PinoLike): LogSink {
  return ({ level, message, ...details }) => {
    if (level !== "none") logger[PINO_METHOD[level]](details, message);
  };
}
