// The registry's metadata in SQLite: which repository holds which blobs, manifests, tags and unfinished uploads.
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { LighterError } from "../../src/core/errors.ts";

const LOCKS = `can_delete INTEGER NOT NULL DEFAULT 1, can_write INTEGER NOT NULL DEFAULT 1,
  can_list INTEGER NOT NULL DEFAULT 1, can_read INTEGER NOT NULL DEFAULT 1`;

const SCHEMA = `
CREATE TABLE IF NOT EXISTS repositories (
  name TEXT PRIMARY KEY, created INTEGER NOT NULL, updated INTEGER NOT NULL, ${LOCKS}
) STRICT;
CREATE TABLE IF NOT EXISTS manifests (
  repository TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER NOT NULL,
  created INTEGER NOT NULL, updated INTEGER NOT NULL, subject TEXT, facts TEXT NOT NULL, ${LOCKS},
  PRIMARY KEY (repository, digest)
) STRICT;
CREATE INDEX IF NOT EXISTS manifests_by_subject ON manifests (repository, subject) WHERE subject IS NOT NULL;
CREATE INDEX IF NOT EXISTS manifests_by_digest ON manifests (digest);
CREATE TABLE IF NOT EXISTS tags (
  repository TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL,
  created INTEGER NOT NULL, updated INTEGER NOT NULL, ${LOCKS},
  PRIMARY KEY (repository, name)
) STRICT;
CREATE INDEX IF NOT EXISTS tags_by_digest ON tags (repository, digest);
CREATE TABLE IF NOT EXISTS blob_links (
  repository TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (repository, digest)
) STRICT;
CREATE INDEX IF NOT EXISTS blob_links_by_digest ON blob_links (digest);
CREATE TABLE IF NOT EXISTS uploads (id TEXT PRIMARY KEY, repository TEXT NOT NULL, started INTEGER NOT NULL) STRICT;
`;

/** The folder cannot be used: another registry has it, or it holds something else. */
class RegistryFolderError extends LighterError<"FOLDER_UNUSABLE"> {
  override readonly name = "RegistryFolderError";
}

/** The metadata database with the few ways the registry calls it; every statement is compiled once. */
export interface Database {
  all<Row>(sql: string, ...values: (string | number | null)[]): Row[];
  /** Whether the query finds anything. */
  has(sql: string, ...values: (string | number | null)[]): boolean;
  /** Runs a statement and returns how many rows it changed. */
  run(sql: string, ...values: (string | number | null)[]): number;
  /** Runs `work` in one transaction: all of it happens, or nothing. */
  transact<T>(work: () => T): T;
  close(): void;
}

/**
 * Opens (or creates) `registry.sqlite` in `folder`.
 *
 * Committed rows survive the death of the process, though not the loss of power: nothing is forced to the disk. The
 * file is locked while open, so that a second registry on the same folder fails at once with a RegistryFolderError.
 */
export function openDatabase(folder: string): Database {
  const database = new DatabaseSync(join(folder, "registry.sqlite"));
  try {
    database.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;");
    database.exec(SCHEMA);
  } catch (cause) {
    database.close();
    throw new RegistryFolderError("FOLDER_UNUSABLE", { operation: "open registry in", subject: folder, cause });
  }
  const statements = new Map<string, ReturnType<DatabaseSync["prepare"]>>();
  const prepare = (sql: string): ReturnType<DatabaseSync["prepare"]> => {
    const statement = statements.get(sql) ?? database.prepare(sql);
    statements.set(sql, statement);
    return statement;
  };
  return {
    all: <Row>(sql: string, ...values: (string | number | null)[]) => prepare(sql).all(...values) as Row[],
    has: (sql, ...values) => prepare(sql).get(...values) !== undefined,
    run: (sql, ...values) => Number(prepare(sql).run(...values).changes),
    transact(work) {
      database.exec("BEGIN IMMEDIATE");
      try {
        const result = work();
        database.exec("COMMIT");
        return result;
      } catch (error) {
        database.exec("ROLLBACK");
        throw error;
      }
    },
    close: () => database.close(),
  };
}
