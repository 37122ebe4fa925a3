// What all activities share about a release: its record, its product, and whether it still has a reason to go on.
import type { Product } from "../core/config.ts";
import { isLighterError, LighterError } from "../core/errors.ts";
import { decisiveCommand } from "../core/release/commands.ts";
import { mayLag, type ReleaseId } from "../core/release/intake.ts";
import { applyUpdate, type ReleaseRecord, type ReleaseUpdate } from "../core/release/record.ts";
import { listDocuments, updateDocument } from "./documents.ts";
import type { ActivityPorts } from "./ports.ts";

/** Names a release and the orchestrator's present; `now` is ISO 8601. */
export interface ReleaseStep {
  readonly releaseId: ReleaseId;
  readonly now: string;
}

/** Whether a release still has a reason to go on. */
export type Standing =
  | { readonly kind: "current" }
  | { readonly kind: "superseded" | "aborted" | "rollback"; readonly reason: string };

/** Reads and writes release records; shared by all activities. */
export interface ReleaseBook {
  read(releaseId: ReleaseId): Promise<ReleaseRecord>;
  update(step: ReleaseStep, change: ReleaseUpdate): Promise<ReleaseRecord>;
  product(record: ReleaseRecord): Product;
  /** Supersession and operator commands; re-reads the tag's digest, since events may be late or lost. */
  standing(step: ReleaseStep): Promise<Standing>;
}

/** The product part of a release's name: all but the hash and the attempt. */
function productOf(releaseId: ReleaseId): string {
  return releaseId.split("-").slice(0, -2).join("-");
}

/** Creates the book. */
export function createReleaseBook({ config, stores, registries }: ActivityPorts): ReleaseBook {
  /** The tag's digest; undefined when the registry does not tell, whyever: that is no news and must not stop a rollout. */
  async function readTag({ registry, repository, tag }: ReleaseRecord): Promise<string | undefined> {
    try {
      return (await registries.open(registry, repository).getManifest(tag)).digest;
    } catch (error) {
      if (isLighterError(error)) return undefined;
      throw error;
    }
  }

  const book: ReleaseBook = {
    async read(releaseId) {
      const found = await stores.releases.get(productOf(releaseId), releaseId);
      if (found !== undefined) return found.value;
      throw new LighterError("RELEASE_UNKNOWN", { operation: "read release", subject: releaseId, got: "no record" });
    },
    async update({ releaseId, now }, change) {
      return updateDocument(stores.releases, productOf(releaseId), releaseId, (record) => {
        if (record !== undefined) return applyUpdate(record, change, now);
        throw new LighterError("RELEASE_UNKNOWN", {
          operation: "update release",
          subject: releaseId,
          got: "no record",
        });
      });
    },
    product(record) {
      const product = config.products.find(({ name }) => name === record.product);
      if (product !== undefined) return product;
      throw new LighterError("PRODUCT_UNKNOWN", {
        operation: "find product",
        subject: record.product,
        got: "no such product in the configuration",
      });
    },
    async standing({ releaseId, now }) {
      const command = decisiveCommand(await listDocuments(stores.commands, releaseId));
      if (command !== undefined) {
        const reason = command.reason ?? `asked for at ${command.at}`;
        return { kind: command.kind === "abort" ? "aborted" : "rollback", reason };
      }
      const record = await book.read(releaseId);
      const head = (await stores.productHeads.get("all", record.product))?.value;
      if (head !== undefined && head.releaseId !== releaseId && head.pushedAt >= record.pushedAt) {
        return { kind: "superseded", reason: `superseded by ${head.releaseId}` };
      }
      const digest = await readTag(record);
      if (digest !== undefined && digest !== record.digest && !mayLag(record.pushedAt, now)) {
        return { kind: "superseded", reason: `${record.tag} now points at ${digest}` };
      }
      return { kind: "current" };
    },
  };
  return book;
}
