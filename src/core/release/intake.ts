// Decides what an event means: a new release, the one that already runs, or nothing.
import { createHash } from "node:crypto";
import type { Config, Product } from "../config.ts";
import type { Digest } from "../image/descriptor.ts";
import type { TriggerEvent } from "./trigger-event.ts";

/** The name of one release: `<product>-<12 hex of sha256(registry/repository@digest)>-<attempt>`. */
export type ReleaseId = string;

/** The part of a release's name that is the same for all attempts at one candidate. */
export function releaseKey(product: Product, digest: Digest): string {
  const subject = `${product.registry}/${product.repository}@${digest}`;
  return `${product.name}-${createHash("sha256").update(subject).digest("hex").slice(0, 12)}`;
}

/** The name of the given attempt, from 1. */
export function releaseIdOf(key: string, attempt: number): ReleaseId {
  return `${key}-${attempt}`;
}

/** Whether a text may be the name of a release. */
export function isReleaseId(text: string): boolean {
  return /^[a-z0-9][a-z0-9-]*-[0-9a-f]{12}-[1-9]\d*$/.test(text);
}

/** A product that an event is about, or the reason why it is about none. */
export type Resolved = { readonly product: Product; readonly tag: string } | { readonly ignored: string };

/** Finds the product of an event; pushes without a tag, of other tags and of Lighter's own tags are about none. */
export function resolveProduct(config: Config, event: TriggerEvent): Resolved {
  const product = config.products.find(
    ({ registry, repository }) =>
      repository === event.repository && (event.registry === undefined || registry === event.registry),
  );
  if (product === undefined) {
    return { ignored: `no product has repository ${event.registry ?? "*"}/${event.repository}` };
  }
  const { tag } = event;
  if (tag === undefined) return { ignored: `a push of ${event.digest ?? "?"} without a tag` };
  if (tag.startsWith(product.targetTagPrefix)) return { ignored: `${tag} is one of Lighter's own tags` };
  if (!new RegExp(`^(?:${product.tags})$`).test(tag)) {
    return { ignored: `tag ${tag} does not match ${product.tags} of product ${product.name}` };
  }
  return { product, tag };
}

/** How long a registry's replicas may lag behind a push. */
const REPLICA_LAG_MS = 600_000;

/** Whether what was pushed then may not show yet, so that a registry which says otherwise is no news. */
export function mayLag(pushedAt: string, now: string): boolean {
  return Date.parse(now) - Date.parse(pushedAt) < REPLICA_LAG_MS;
}

/** What is known when an event arrives. */
export interface IntakeFacts {
  /** The event's digest; for manual events by tag, the tag's digest. */
  readonly digest: Digest;
  /** What the registry says now of the tag; undefined when it has no such tag any more. */
  readonly currentDigest: Digest | undefined;
  /** Whether it is the newest push and so young that the registry's replicas may not show it yet. */
  readonly fresh: boolean;
  /** What the tag was last seen at, and the release that came of it. */
  readonly head: { readonly digest: Digest; readonly releaseId: ReleaseId } | undefined;
  /** Attempts so far at this digest, whatever their tags. */
  readonly attempts: number;
  /** Whether the newest of these attempts is over. */
  readonly finished: boolean;
  /** Whether a push of something else came after the newest of these attempts. */
  readonly overtaken: boolean;
  readonly rerun: boolean;
}

/** Nothing to do, the release that this event already has, or a release to open. */
export type Intake =
  | { readonly kind: "ignore"; readonly reason: string }
  | { readonly kind: "existing"; readonly releaseId: ReleaseId; readonly reason: string }
  | { readonly kind: "open"; readonly releaseId: ReleaseId; readonly attempt: number; readonly reason: string };

const MOVED_BACK = "the tag moved back to an image that was released before";

/**
 * Decides on an event of a known product.
 *
 * The same push again changes nothing, even after its release is over. A tag that moved back to a digest which another
 * push has overtaken since, or an explicit rerun of a release that is over, opens the next attempt.
 */
export function decideIntake(key: string, facts: IntakeFacts): Intake {
  const { digest, currentDigest, fresh, head, attempts, finished, overtaken, rerun } = facts;
  if (currentDigest !== digest && !fresh) {
    return { kind: "ignore", reason: `the tag now points at ${currentDigest ?? "nothing"}, not at ${digest}` };
  }
  const open = (reason: string): Intake => {
    const attempt = attempts + 1;
    return { kind: "open", releaseId: releaseIdOf(key, attempt), attempt, reason };
  };
  const newest = releaseIdOf(key, attempts);
  if (attempts === 0) return open("first seen");
  if (rerun && finished) return open("asked for again");
  // A head that names the next attempt is the trace of an intake that was cut off before it wrote the release.
  if (head?.releaseId === releaseIdOf(key, attempts + 1)) return open(MOVED_BACK);
  if (head?.digest === digest) return { kind: "existing", releaseId: head.releaseId, reason: "the same push again" };
  if (head !== undefined && overtaken) return open(MOVED_BACK);
  return { kind: "existing", releaseId: newest, reason: "the same image under another tag" };
}
