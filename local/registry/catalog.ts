// Repositories, their manifests and tags as rows: what is listed, what is locked, when it changed.
import type { Database } from "./database.ts";
import type { ManifestFacts } from "./manifest-check.ts";

/** What may be done to a repository, manifest or tag: ACR's changeable attributes. */
export interface Locks {
  readonly deleteEnabled: boolean;
  readonly writeEnabled: boolean;
  readonly listEnabled: boolean;
  readonly readEnabled: boolean;
}

interface Stamped {
  /** Milliseconds since the epoch. */
  readonly created: number;
  readonly updated: number;
  readonly locks: Locks;
}
/** A repository's row. */
export interface RepositoryRecord extends Stamped {
  readonly name: string;
}
/** A manifest's row; `size` is that of its bytes. */
export interface ManifestRecord extends Stamped {
  readonly repository: string;
  readonly digest: string;
  readonly size: number;
  readonly facts: ManifestFacts & { readonly os?: string; readonly architecture?: string };
}
/** A tag's row. */
export interface TagRecord extends Stamped {
  readonly repository: string;
  readonly name: string;
  readonly digest: string;
}

/** Which part of a list is wanted: at most `limit` items after `last`, in name order or by time of change. */
export interface PageRequest {
  readonly limit: number;
  readonly last: string;
  readonly order?: "timeasc" | "timedesc";
}

/** The rows behind every listing; locks set to `listEnabled: false` hide an item from lists only. */
export interface Catalog {
  repository(name: string): RepositoryRecord | undefined;
  repositories(page: PageRequest): RepositoryRecord[];
  counts(repository: string): { readonly manifests: number; readonly tags: number };
  manifest(repository: string, digest: string): ManifestRecord | undefined;
  manifests(repository: string, page: PageRequest): ManifestRecord[];
  referrers(repository: string, subject: string): ManifestRecord[];
  tag(repository: string, name: string): TagRecord | undefined;
  tags(repository: string, page: PageRequest, digest?: string): TagRecord[];
  /** Adds the manifest unless known, creates the repository, and points `tag` (if given) at it, in one transaction. */
  putManifest(
    manifest: Pick<ManifestRecord, "repository" | "digest" | "size" | "facts">,
    tag: string | undefined,
  ): void;
  /** Removes a manifest with its tags; the repository goes with its last manifest. */
  deleteManifest(repository: string, digest: string): void;
  deleteTag(repository: string, name: string): void;
  /** Removes the repository's rows and returns the digests that it held, manifests and blobs. */
  deleteRepository(repository: string): {
    readonly manifests: string[];
    readonly tags: string[];
    readonly blobs: string[];
  };
  setLocks(kind: "repositories" | "manifests" | "tags", repository: string, key: string, locks: Partial<Locks>): void;
}

interface LockColumns {
  readonly can_delete: number;
  readonly can_write: number;
  readonly can_list: number;
  readonly can_read: number;
}
interface Row extends LockColumns {
  readonly repository: string;
  readonly name: string;
  readonly digest: string;
  readonly size: number;
  readonly created: number;
  readonly updated: number;
  readonly facts: string;
}

const KEY_COLUMN = { repositories: "name", manifests: "digest", tags: "name" } as const;
type Table = keyof typeof KEY_COLUMN;

function stampedOf(row: Row): Stamped {
  return {
    created: row.created,
    updated: row.updated,
    locks: {
      deleteEnabled: row.can_delete === 1,
      writeEnabled: row.can_write === 1,
      listEnabled: row.can_list === 1,
      readEnabled: row.can_read === 1,
    },
  };
}
const repositoryOf = (row: Row): RepositoryRecord => ({ name: row.name, ...stampedOf(row) });
const tagOf = (row: Row): TagRecord => ({
  repository: row.repository,
  name: row.name,
  digest: row.digest,
  ...stampedOf(row),
});
const manifestOf = (row: Row): ManifestRecord => ({
  repository: row.repository,
  digest: row.digest,
  size: row.size,
  facts: JSON.parse(row.facts) as ManifestRecord["facts"],
  ...stampedOf(row),
});

/** Creates the catalog over `database`; `now` is in milliseconds since the epoch. */
export function createCatalog(database: Database, now: () => number): Catalog {
  const page = (table: Table, where: string, values: string[], request: PageRequest): Row[] => {
    const key = KEY_COLUMN[table];
    if (request.order === undefined) {
      const sql = `SELECT * FROM ${table} WHERE ${where} AND can_list = 1 AND ${key} > ? ORDER BY ${key} LIMIT ?`;
      return database.all(sql, ...values, request.last, request.limit);
    }
    const [sign, direction] = request.order === "timeasc" ? [">", "ASC"] : ["<", "DESC"];
    const after =
      request.last === ""
        ? "? = ''"
        : `(updated, ${key}) ${sign} (SELECT updated, ${key} FROM ${table} WHERE ${where} AND ${key} = ?)`;
    const sql = `SELECT * FROM ${table} WHERE ${where} AND can_list = 1 AND ${after} ORDER BY updated ${direction}, ${key} ${direction} LIMIT ?`;
    return database.all(sql, ...values, ...(request.last === "" ? [] : values), request.last, request.limit);
  };
  const count = (table: Table, repository: string): number =>
    database.all<{ n: number }>(`SELECT COUNT(*) AS n FROM ${table} WHERE repository = ?`, repository)[0]?.n ?? 0;
  const digestsIn = (table: "manifests" | "blob_links", repository: string): string[] =>
    database
      .all<{ digest: string }>(`SELECT digest FROM ${table} WHERE repository = ?`, repository)
      .map(({ digest }) => digest);

  return {
    repository(name) {
      const [row] = database.all<Row>("SELECT * FROM repositories WHERE name = ?", name);
      return row === undefined ? undefined : repositoryOf(row);
    },
    repositories: (request) => page("repositories", "1", [], request).map(repositoryOf),
    counts: (repository) => ({ manifests: count("manifests", repository), tags: count("tags", repository) }),
    manifest(repository, digest) {
      const [row] = database.all<Row>(
        "SELECT * FROM manifests WHERE repository = ? AND digest = ?",
        repository,
        digest,
      );
      return row === undefined ? undefined : manifestOf(row);
    },
    manifests: (repository, request) => page("manifests", "repository = ?", [repository], request).map(manifestOf),
    referrers: (repository, subject) =>
      database
        .all<Row>("SELECT * FROM manifests WHERE repository = ? AND subject = ? ORDER BY digest", repository, subject)
        .map(manifestOf),
    tag(repository, name) {
      const [row] = database.all<Row>("SELECT * FROM tags WHERE repository = ? AND name = ?", repository, name);
      return row === undefined ? undefined : tagOf(row);
    },
    tags: (repository, request, digest) =>
      (digest === undefined
        ? page("tags", "repository = ?", [repository], request)
        : page("tags", "repository = ? AND digest = ?", [repository, digest], request)
      ).map(tagOf),
    putManifest({ repository, digest, size, facts }, tag) {
      const at = now();
      database.transact(() => {
        database.run(
          `INSERT INTO repositories (name, created, updated) VALUES (?, ?, ?)
           ON CONFLICT (name) DO UPDATE SET updated = excluded.updated`,
          repository,
          at,
          at,
        );
        database.run(
          `INSERT INTO manifests (repository, digest, media_type, size, created, updated, subject, facts)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (repository, digest) DO UPDATE SET updated = excluded.updated`,
          repository,
          digest,
          facts.mediaType,
          size,
          at,
          at,
          facts.subject ?? null,
          JSON.stringify(facts),
        );
        if (tag === undefined) return;
        database.run(
          `INSERT INTO tags (repository, name, digest, created, updated) VALUES (?, ?, ?, ?, ?)
           ON CONFLICT (repository, name) DO UPDATE SET digest = excluded.digest, updated = excluded.updated`,
          repository,
          tag,
          digest,
          at,
          at,
        );
      });
    },
    deleteManifest(repository, digest) {
      database.transact(() => {
        database.run("DELETE FROM tags WHERE repository = ? AND digest = ?", repository, digest);
        database.run("DELETE FROM manifests WHERE repository = ? AND digest = ?", repository, digest);
        database.run(
          "DELETE FROM repositories WHERE name = ? AND NOT EXISTS (SELECT 1 FROM manifests WHERE repository = name)",
          repository,
        );
      });
    },
    deleteTag(repository, name) {
      database.run("DELETE FROM tags WHERE repository = ? AND name = ?", repository, name);
    },
    deleteRepository(repository) {
      const held = {
        manifests: digestsIn("manifests", repository),
        tags: database
          .all<{ name: string }>("SELECT name FROM tags WHERE repository = ? ORDER BY name", repository)
          .map(({ name }) => name),
        blobs: digestsIn("blob_links", repository),
      };
      database.transact(() => {
        for (const table of ["tags", "manifests", "blob_links"]) {
          database.run(`DELETE FROM ${table} WHERE repository = ?`, repository);
        }
        database.run("DELETE FROM repositories WHERE name = ?", repository);
      });
      return held;
    },
    setLocks(kind, repository, key, locks) {
      const columns: [string, boolean | undefined][] = [
        ["can_delete", locks.deleteEnabled],
        ["can_write", locks.writeEnabled],
        ["can_list", locks.listEnabled],
        ["can_read", locks.readEnabled],
      ];
      const where = kind === "repositories" ? "? = name AND name = ?" : `repository = ? AND ${KEY_COLUMN[kind]} = ?`;
      for (const [column, value] of columns) {
        if (value !== undefined) {
          database.run(`UPDATE ${kind} SET ${column} = ? WHERE ${where}`, value ? 1 : 0, repository, key);
        }
      }
    },
  };
}
