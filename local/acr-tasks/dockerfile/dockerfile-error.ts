// How the reader and the executor of Dockerfiles say no: by instruction and line.
import { RunError } from "../run-error.ts";

/** What a Dockerfile's line is about, e.g. `COPY` in line 3. */
export interface LineFacts {
  readonly keyword: string;
  readonly line: number;
}

/** Something that no Dockerfile may hold. */
export function invalidLine({ keyword, line }: LineFacts, got: string, want?: string): RunError {
  const subject = `${keyword} in line ${line}`;
  return new RunError("DOCKERFILE_INVALID", { operation: "read Dockerfile", subject, got, ...(want && { want }) });
}

/** Something that a Dockerfile may hold but the small executor does not carry out. */
export function unsupportedLine({ keyword, line }: LineFacts, got: string): RunError {
  const subject = `${keyword} in line ${line}`;
  const want = "FROM, COPY, LABEL, ENV, ARG, WORKDIR, USER, CMD or ENTRYPOINT in their plain forms";
  return new RunError("DOCKERFILE_UNSUPPORTED", { operation: "read Dockerfile", subject, got, want });
}
