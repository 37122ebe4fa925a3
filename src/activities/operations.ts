// What operations do to releases outside their orchestrations: look, list, command, and capture baselines.
import { LighterError } from "../core/errors.ts";
import { formatReference, parseReference } from "../core/image/reference.ts";
import type { CommandKind } from "../core/release/commands.ts";
import { isFinal, type ReleaseRecord } from "../core/release/record.ts";
import { viewRelease, type ReleaseView } from "../core/release/view.ts";
import { findModule } from "../core/rollout/baseline.ts";
import { emptyLedger, LedgerError, type Baseline } from "../core/rollout/ledger.ts";
import { slotOf } from "../core/rollout/slots.ts";
import { updateDocument } from "./documents.ts";
import type { ActivityPorts } from "./ports.ts";
import { createReleaseBook } from "./release-book.ts";

/** A page of releases, newest first. */
interface ReleasePage {
  readonly releases: readonly ReleaseView[];
  readonly continuation?: string;
}

/** What was captured on one hub. */
interface CapturedBaseline {
  readonly hub: string;
  readonly baseline: Baseline;
  readonly anchor?: string;
}

/** What operations ask for. */
export interface Operations {
  view(releaseId: string): Promise<ReleaseView>;
  list(options: { readonly limit: number; readonly continuation?: string }): Promise<ReleasePage>;
  /** Releases that were accepted but have not begun: their start may have been cut off. */
  listUnstarted(): Promise<readonly string[]>;
  /** Gives a piece of every hub's devices that have no slot theirs; returns how many. */
  assignSlots(): Promise<number>;
  /** Writes a command down; the caller then wakes the release. @throws LighterError RELEASE_OVER */
  command(releaseId: string, kind: CommandKind, reason: string | undefined, now: Date): Promise<ReleaseRecord>;
  /**
   * Records what the product's module runs on each of its hubs as the content to go back to.
   * @throws LighterError BASELINE_NOT_FOUND unless `absent` says that there is none; ROLLOUT_ACTIVE
   */
  captureBaseline(product: string, absent: boolean): Promise<readonly CapturedBaseline[]>;
}

/** How many of the newest releases are searched for starts that were cut off. */
const SWEPT = 100;

/** Creates the operations. */
export function createOperations(ports: ActivityPorts): Operations {
  const { config, stores, registries } = ports;
  const book = createReleaseBook(ports);

  async function listRecords(
    limit: number,
    continuation?: string,
  ): Promise<{ records: ReleaseRecord[]; next?: string }> {
    const page = await stores.listings.list("all", { limit, ...(continuation === undefined ? {} : { continuation }) });
    const found = await Promise.all(page.documents.map(({ product, id }) => stores.releases.get(product, id)));
    const records = found.filter((record) => record !== undefined).map(({ value }) => value);
    return { records, ...(page.continuation === undefined ? {} : { next: page.continuation }) };
  }

  /** An image by `tag@digest`, so that it means the same for ever. */
  async function pin(image: string): Promise<string> {
    const reference = parseReference(image);
    if (reference.digest !== undefined) return image;
    const { registry, repository, tag = "latest" } = reference;
    const { digest } = await registries.open(registry, repository).getManifest(tag);
    return formatReference({ registry, repository, tag, digest });
  }

  return {
    async view(releaseId) {
      return viewRelease(await book.read(releaseId), config.tariff);
    },
    async list({ limit, continuation }) {
      const { records, next } = await listRecords(limit, continuation);
      const releases = records.map((record) => viewRelease(record, config.tariff));
      return { releases, ...(next === undefined ? {} : { continuation: next }) };
    },
    async listUnstarted() {
      const { records } = await listRecords(SWEPT);
      return records.filter(({ state }) => state === "accepted").map(({ id }) => id);
    },
    async assignSlots() {
      const names = new Set(config.products.flatMap(({ rollout }) => rollout.hubs));
      const given = await Promise.all([...names].map((name) => ports.hub(name).fleet.assignSlots(slotOf)));
      return given.reduce((sum, { assigned }) => sum + assigned, 0);
    },
    async command(releaseId, kind, reason, now) {
      const record = await book.read(releaseId);
      if (isFinal(record.state)) {
        throw new LighterError("RELEASE_OVER", {
          operation: kind,
          subject: releaseId,
          got: `state ${record.state}`,
          want: "a release that is not over",
        });
      }
      const at = now.toISOString();
      await stores.commands.insert(releaseId, `${at}-${kind}`, {
        kind,
        at,
        ...(reason === undefined ? {} : { reason }),
      });
      return record;
    },
    async captureBaseline(productName, absent) {
      const product = config.products.find(({ name }) => name === productName);
      if (product === undefined) {
        throw new LighterError("PRODUCT_UNKNOWN", {
          operation: "capture baseline",
          subject: productName,
          got: "no such product",
          want: config.products.map(({ name }) => name).join(", ") || "a product in the configuration",
        });
      }
      return Promise.all(
        product.rollout.hubs.map(async (hub): Promise<CapturedBaseline> => {
          const found = absent ? undefined : findModule(await ports.hub(hub).deployments.list(), product.module.name);
          if (found === undefined && !absent) {
            throw new LighterError("BASELINE_NOT_FOUND", {
              operation: "capture baseline",
              subject: `${product.name} on ${hub}`,
              got: `no deployment that defines module ${product.module.name}`,
              want: "one that does, or the word that there is none (absent)",
            });
          }
          const baseline: Baseline =
            found === undefined
              ? { kind: "absent", from: "operator" }
              : { kind: "module", module: found.module, from: found.deploymentId };
          const anchor = found && (await pin(found.module.settings["image"] ?? ""));
          await updateDocument(stores.ledgers, product.name, hub, (current) => {
            const ledger = current ?? emptyLedger(product.name, hub);
            // What is being rolled out is not proven yet; it must not become what a rollback returns to.
            if (ledger.active === undefined) {
              return { ...ledger, baseline, ...(anchor === undefined ? {} : { anchor, firstAnchor: anchor }) };
            }
            throw new LedgerError("ROLLOUT_ACTIVE", {
              operation: "capture baseline",
              subject: `${product.name} on ${hub}`,
              got: `release ${ledger.active} being rolled out`,
              want: "none",
            });
          });
          return { hub, baseline, ...(anchor === undefined ? {} : { anchor }) };
        }),
      );
    },
  };
}
