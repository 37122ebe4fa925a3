// The ports that activities are made from.
import type { Config, TaskEngineRules } from "../core/config.ts";
import type { Digest } from "../core/image/descriptor.ts";
import type { ReleaseCommand } from "../core/release/commands.ts";
import type { ReleaseId } from "../core/release/intake.ts";
import type { ReleaseRecord } from "../core/release/record.ts";
import type { Ledger } from "../core/rollout/ledger.ts";
import type { DocumentStore } from "../ports/documents.ts";
import type { IotHub } from "../ports/iot-hub.ts";
import type { LayerIndexer, RebaseEngine } from "../ports/rebase-engine.ts";
import type { RebaseRuns } from "../ports/rebase-runs.ts";
import type { Registries } from "../ports/registry.ts";

/** What a tag was last seen at, and the release that came of it. */
interface TagHead {
  readonly digest: Digest;
  readonly releaseId: ReleaseId;
}

/** The newest candidate of a product. */
interface ProductHead {
  readonly releaseId: ReleaseId;
  /** ISO 8601. */
  readonly pushedAt: string;
}

/** One line of the list of releases, newest first. */
interface ReleaseListing {
  readonly id: ReleaseId;
  readonly product: string;
}

/** The last priority that was given away on a hub. */
interface PriorityCounter {
  readonly last: number;
}

/** Everything that is remembered, by kind. Partition and key: see each. */
export interface Stores {
  /** product / release id. */
  readonly releases: DocumentStore<ReleaseRecord>;
  /** "all" / inverted time + id. */
  readonly listings: DocumentStore<ReleaseListing>;
  /** product / tag. */
  readonly tagHeads: DocumentStore<TagHead>;
  /** "all" / product. */
  readonly productHeads: DocumentStore<ProductHead>;
  /** release id / time. */
  readonly commands: DocumentStore<ReleaseCommand>;
  /** product / hub. */
  readonly ledgers: DocumentStore<Ledger>;
  /** "all" / hub. */
  readonly priorities: DocumentStore<PriorityCounter>;
}

/** The outside world, as activities see it. */
export interface ActivityPorts {
  readonly config: Config;
  readonly stores: Stores;
  readonly registries: Registries;
  readonly engine: RebaseEngine & LayerIndexer;
  /** The runs of a product whose rebases ACR Tasks does. */
  runs(rules: TaskEngineRules): RebaseRuns;
  /** The hub of this name; throws when the configuration has none. */
  hub(name: string): IotHub;
}
