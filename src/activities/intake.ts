// Turns a trigger event into a release, the one it already has, or nothing; safe to repeat at any point.
import type { Product } from "../core/config.ts";
import type { Digest } from "../core/image/descriptor.ts";
import { isLighterError, LighterError } from "../core/errors.ts";
import { decideIntake, mayLag, releaseKey, resolveProduct, type ReleaseId } from "../core/release/intake.ts";
import { isFinal, type ReleaseRecord } from "../core/release/record.ts";
import type { TriggerEvent } from "../core/release/trigger-event.ts";
import type { IntakeOutcome } from "../ports/release-queue.ts";
import { listDocuments, updateDocument } from "./documents.ts";
import type { ActivityPorts } from "./ports.ts";

/** Longest time there is, for keys that sort the newest first. */
const MAX_TIME_MS = 8.64e15;

/** Accepts trigger events. */
export interface Intake {
  /** @throws LighterError of the registry or the stores; the event should then be delivered again */
  accept(event: TriggerEvent, now: Date): Promise<IntakeOutcome>;
}

/** The key under which a release is listed: the later it was accepted, the smaller. */
function listingKey(acceptedAt: string, id: ReleaseId): string {
  return `${String(MAX_TIME_MS - Date.parse(acceptedAt)).padStart(16, "0")}-${id}`;
}

/** Creates the intake; `start` starts a release's orchestration unless it exists. */
export function createIntake(
  { config, stores, registries }: Pick<ActivityPorts, "config" | "stores" | "registries">,
  start: (releaseId: ReleaseId) => Promise<void>,
): Intake {
  async function readCurrentDigest(product: Product, tag: string): Promise<Digest | undefined> {
    try {
      return (await registries.open(product.registry, product.repository).getManifest(tag)).digest;
    } catch (error) {
      if (isLighterError(error, "MANIFEST_UNKNOWN") || isLighterError(error, "NAME_UNKNOWN")) return undefined;
      throw error;
    }
  }

  /** The newest push so far; an event that does not say when it happened counts as the newest. */
  async function raiseProductHead(
    product: Product,
    releaseId: ReleaseId,
    event: TriggerEvent,
    now: Date,
  ): Promise<string> {
    let pushedAt = event.pushedAt ?? now.toISOString();
    await updateDocument(stores.productHeads, "all", product.name, (head) => {
      if (head === undefined) return { releaseId, pushedAt };
      if (head.releaseId === releaseId) {
        // An intake that was cut off came this far: the release keeps the time under which it is known.
        pushedAt = head.pushedAt;
        return head;
      }
      if (event.pushedAt === undefined && pushedAt <= head.pushedAt) {
        pushedAt = new Date(Date.parse(head.pushedAt) + 1).toISOString();
      }
      return pushedAt >= head.pushedAt ? { releaseId, pushedAt } : head;
    });
    return pushedAt;
  }

  return {
    async accept(event, now) {
      const resolved = resolveProduct(config, event);
      if ("ignored" in resolved) return { outcome: "ignored", reason: resolved.ignored };
      const { product, tag } = resolved;

      const currentDigest = await readCurrentDigest(product, tag);
      const digest = event.digest ?? currentDigest;
      if (digest === undefined) {
        return { outcome: "ignored", reason: `${product.repository}:${tag} does not exist in ${product.registry}` };
      }
      const key = releaseKey(product, digest);
      for (;;) {
        const attempts = await listDocuments(stores.releases, product.name, `${key}-`);
        const newest = attempts.reduce<ReleaseRecord | undefined>(
          (best, record) => (best === undefined || record.attempt > best.attempt ? record : best),
          undefined,
        );
        const head = await stores.tagHeads.get(product.name, tag);
        const newestPush = (await stores.productHeads.get("all", product.name))?.value;
        const { pushedAt } = event;
        const isNewest = pushedAt !== undefined && pushedAt >= (newestPush?.pushedAt ?? "");
        const intake = decideIntake(key, {
          digest,
          currentDigest,
          fresh: isNewest && mayLag(pushedAt, now.toISOString()),
          head: head?.value,
          attempts: newest?.attempt ?? 0,
          finished: newest !== undefined && isFinal(newest.state),
          overtaken: newestPush !== undefined && newest !== undefined && newestPush.releaseId !== newest.id,
          rerun: event.rerun ?? false,
        });
        if (intake.kind === "ignore") return { outcome: "ignored", reason: intake.reason };

        // The head is moved first: whoever repeats this after a crash finds the decision there and completes it.
        const moved = { digest, releaseId: intake.releaseId };
        const claimed =
          head === undefined
            ? await stores.tagHeads.insert(product.name, tag, moved)
            : (head.value.digest === digest && head.value.releaseId === intake.releaseId) ||
              (await stores.tagHeads.replace(product.name, tag, moved, head.etag));
        if (!claimed) continue;

        const { releaseId } = intake;
        const existing = attempts.find(({ id }) => id === releaseId);
        let opened = false;
        if (existing === undefined) {
          const pushedAt = await raiseProductHead(product, releaseId, event, now);
          const at = now.toISOString();
          opened = await stores.releases.insert(product.name, releaseId, {
            id: releaseId,
            product: product.name,
            attempt: Number(releaseId.slice(key.length + 1)),
            registry: product.registry,
            repository: product.repository,
            tag,
            digest,
            pushedAt,
            trigger: { source: event.source, eventId: event.eventId, why: intake.reason },
            state: "accepted",
            acceptedAt: at,
            updatedAt: at,
            steps: {},
            rollouts: {},
          });
        }
        const record = existing ?? (await stores.releases.get(product.name, releaseId))?.value;
        if (record === undefined) {
          throw new LighterError("RELEASE_LOST", {
            operation: "accept event",
            subject: releaseId,
            got: "no record",
            want: "the record just stored",
            retryable: true,
          });
        }
        if (!isFinal(record.state)) {
          await stores.listings.insert("all", listingKey(record.acceptedAt, releaseId), {
            id: releaseId,
            product: product.name,
          });
          await start(releaseId);
        }
        return {
          outcome: opened ? "opened" : "existing",
          reason: intake.reason,
          releaseId,
        };
      }
    },
  };
}
