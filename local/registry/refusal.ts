// What the registry answers when it will not do something: the error codes of the OCI distribution spec and their statuses.
import { type ErrorFacts, LighterError } from "../../src/core/errors.ts";

/** Error codes (OCI distribution-spec 1.1 "Error Codes", and those of docker/distribution that clients know) by status. */
const STATUS = {
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 400,
  BLOB_UPLOAD_UNKNOWN: 404,
  DENIED: 403,
  DIGEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 400,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  PAGINATION_NUMBER_INVALID: 400,
  RANGE_INVALID: 416,
  SIZE_INVALID: 400,
  TAG_INVALID: 400,
  TAG_UNKNOWN: 404,
  TOOMANYREQUESTS: 429,
  UNAUTHORIZED: 401,
  UNSUPPORTED: 405,
} as const;

/** A code of the registry's error form. */
export type RefusalCode = keyof typeof STATUS;

/** What a refusal says beyond its code; `status` overrides the code's usual one. */
export interface RefusalFacts extends ErrorFacts {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly detail?: unknown;
}

/** A request the registry refuses; becomes an error body of the spec's form. */
export class RegistryRefusal extends LighterError<RefusalCode> {
  override readonly name = "RegistryRefusal";
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly detail: unknown;

  constructor(code: RefusalCode, facts: RefusalFacts) {
    super(code, facts);
    this.status = facts.status ?? STATUS[code];
    this.headers = facts.headers ?? {};
    this.detail = facts.detail;
  }
}

/** Throws a RegistryRefusal. */
export function refuse(code: RefusalCode, facts: RefusalFacts): never {
  throw new RegistryRefusal(code, facts);
}
