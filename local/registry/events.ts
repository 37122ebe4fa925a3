// What happened to the registry's content, and the two forms in which it is told to others.
import type { Call } from "./call.ts";

/** A change of content. A blob's push has the media type `application/octet-stream` and no tag. */
interface ContentChange {
  readonly action: "push" | "delete";
  readonly mediaType: string;
  readonly size?: number;
  readonly digest: string;
  readonly repository: string;
  readonly tag?: string;
}

/** A change with the request that made it. */
export interface RegistryEvent extends ContentChange {
  readonly id: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly request: {
    readonly id: string;
    readonly host: string;
    readonly method: string;
    readonly useragent: string;
    readonly addr: string;
  };
  /** The name of whoever sent the request, if known. */
  readonly actor?: string;
}

/** Tells whoever listens of a change made by `call`. */
export type Notify = (call: Call, change: ContentChange) => void;

/** An RFC 3339 time with nine digits of fraction, as registries written in Go send it. */
function formatTime(ms: number): string {
  return new Date(ms).toISOString().replace("Z", "000000Z");
}

/** The body of an ACR webhook for a push or delete of a manifest. */
export function formatAcrEvent(event: RegistryEvent): unknown {
  const { mediaType, size, digest, repository, tag, request } = event;
  return {
    id: event.id,
    timestamp: formatTime(event.at),
    action: event.action,
    target: {
      mediaType,
      ...(size === undefined ? {} : { size }),
      digest,
      ...(size === undefined ? {} : { length: size }),
      repository,
      ...(tag === undefined ? {} : { tag }),
    },
    request: { id: request.id, host: request.host, method: request.method, useragent: request.useragent },
  };
}

/** The body of an ACR webhook's test call; it has no target. */
export function formatAcrPing(id: string, at: number): unknown {
  return { id, timestamp: formatTime(at), action: "ping" };
}

/** One event of a Docker distribution notification (distribution docs, "Work with notifications"). */
export function formatDistributionEvent(event: RegistryEvent, source: { addr: string; instanceID: string }): unknown {
  const { mediaType, size, digest, repository, tag, request } = event;
  const path = mediaType === "application/octet-stream" ? "blobs" : "manifests";
  return {
    id: event.id,
    timestamp: formatTime(event.at),
    action: event.action,
    target: {
      mediaType,
      ...(size === undefined ? {} : { size, length: size }),
      digest,
      repository,
      url: `http://${request.host}/v2/${repository}/${path}/${digest}`,
      ...(tag === undefined ? {} : { tag }),
    },
    request,
    actor: event.actor === undefined ? {} : { name: event.actor },
    source,
  };
}
