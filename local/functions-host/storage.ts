// The host's SQLite file: opened exclusively, migrated, with transactions.
import { DatabaseSync } from "node:sqlite";
import type { SQLInputValue, StatementSync } from "node:sqlite";
import { FunctionsHostError, messageOf } from "./errors.ts";

const SCHEMA_VERSION = 1;
const SCHEMA = `
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS timer_triggers (name TEXT PRIMARY KEY, last INTEGER, next INTEGER, updated INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS instances (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, version TEXT, execution_id TEXT NOT NULL, status TEXT NOT NULL,
  input TEXT, output TEXT, custom_status TEXT, created_at REAL NOT NULL, updated_at REAL NOT NULL,
  parent_id TEXT, parent_execution_id TEXT, parent_task_id INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS instances_created ON instances (created_at, id);
CREATE TABLE IF NOT EXISTS history (
  instance_id TEXT NOT NULL, seq INTEGER NOT NULL, event TEXT NOT NULL, PRIMARY KEY (instance_id, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS inbox (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, instance_id TEXT NOT NULL, execution_id TEXT, at REAL NOT NULL, fact TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS inbox_instance ON inbox (instance_id, seq);
CREATE TABLE IF NOT EXISTS activities (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, instance_id TEXT NOT NULL, execution_id TEXT NOT NULL, task_id INTEGER NOT NULL,
  name TEXT NOT NULL, input TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS timers (
  instance_id TEXT NOT NULL, execution_id TEXT NOT NULL, task_id INTEGER NOT NULL, due REAL NOT NULL,
  PRIMARY KEY (instance_id, execution_id, task_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS timers_due ON timers (due);
CREATE TABLE IF NOT EXISTS entities (id TEXT PRIMARY KEY, state TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entity_inbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, entity_id TEXT NOT NULL, request TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS entity_inbox_entity ON entity_inbox (entity_id, seq);
`;

/** What survives a crash: of the process only (`process`), or of the machine as well (`machine`). */
export type Durability = "process" | "machine";

/** A row as SQLite returns it. */
export type Row = Readonly<Record<string, string | number | null>>;

/** The database behind prepared statements. */
export interface Storage {
  run(sql: string, ...values: SQLInputValue[]): number;
  get(sql: string, ...values: SQLInputValue[]): Row | undefined;
  all(sql: string, ...values: SQLInputValue[]): Row[];
  /** Runs `work` as one transaction: all of it is stored or nothing. Nested calls join the outer one. */
  transaction<Result>(work: () => Result): Result;
  close(): void;
}

/**
 * Opens or creates the file; `:memory:` keeps nothing.
 *
 * WAL with synchronous=NORMAL survives `kill -9` at any moment: a commit is in the page cache, which outlives the
 * process. Only a crash of the machine can lose the last commits (never corrupt them); `machine` syncs each commit.
 * A second process on the same file is refused with STORAGE_IN_USE, so that no work item is claimed twice; a file that is
 * none of this host's is STORAGE_UNUSABLE.
 */
export function openStorage(path: string, durability: Durability): Storage {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { timeout: 0 });
    database.exec("PRAGMA locking_mode=EXCLUSIVE");
    database.exec("PRAGMA journal_mode=WAL");
    database.exec(`PRAGMA synchronous=${durability === "machine" ? "FULL" : "NORMAL"}`);
    database.exec("BEGIN EXCLUSIVE; COMMIT");
    const version = database.prepare("PRAGMA user_version").get()?.["user_version"];
    if (version !== 0 && version !== SCHEMA_VERSION) throw new Error(`its schema has version ${String(version)}`);
    database.exec(`${SCHEMA} PRAGMA user_version = ${SCHEMA_VERSION};`);
  } catch (cause) {
    database?.close();
    throw describeFailure(path, cause);
  }
  return createStorage(database);
}

/** SQLite's codes for a file that another connection has locked. */
const LOCKED: readonly unknown[] = [5, 6];

function describeFailure(path: string, cause: unknown): FunctionsHostError {
  const operation = "open storage";
  const code = cause instanceof Error && "errcode" in cause ? cause.errcode : undefined;
  return LOCKED.includes(code)
    ? new FunctionsHostError("STORAGE_IN_USE", {
        operation,
        subject: path,
        want: "a file that no other host uses",
        cause,
      })
    : new FunctionsHostError("STORAGE_UNUSABLE", { operation, subject: path, got: messageOf(cause), cause });
}

function createStorage(database: DatabaseSync): Storage {
  const statements = new Map<string, StatementSync>();
  const prepare = (sql: string): StatementSync => {
    let statement = statements.get(sql);
    if (statement === undefined) {
      statement = database.prepare(sql);
      statements.set(sql, statement);
    }
    return statement;
  };
  let depth = 0;

  return {
    run: (sql, ...values) => Number(prepare(sql).run(...values).changes),
    get: (sql, ...values) => prepare(sql).get(...values) as Row | undefined,
    all: (sql, ...values) => prepare(sql).all(...values) as Row[],
    transaction(work) {
      if (depth > 0) return work();
      database.exec("BEGIN IMMEDIATE");
      depth++;
      try {
        const result = work();
        database.exec("COMMIT");
        return result;
      } catch (error) {
        database.exec("ROLLBACK");
        throw error;
      } finally {
        depth--;
      }
    },
    close: () => database.close(),
  };
}
