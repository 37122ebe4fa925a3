// Durable's tables: instances, histories, inboxes, activities, timers and entities. Callers make transactions.
import type { Row, Storage } from "../storage.ts";
import { parseEvent, serializeEvent } from "./history.ts";
import type { HistoryEvent, HistoryFact } from "./history.ts";

/** Durable's runtime statuses that occur here. */
export type RuntimeStatus = "Pending" | "Running" | "Suspended" | "Completed" | "Failed" | "Terminated";

/** Whether an instance has ended for good. */
export function isTerminal(status: RuntimeStatus): boolean {
  return status === "Completed" || status === "Failed" || status === "Terminated";
}

/** The orchestration that waits for a sub-orchestration, and under which sequence id. */
export interface ParentLink {
  readonly instanceId: string;
  readonly executionId: string;
  readonly taskId: number;
}

/** An orchestration instance; texts are JSON, times ms. */
export interface Instance {
  readonly id: string;
  readonly name: string;
  readonly version?: string;
  /** Changes at each start and each continue-as-new; outcomes for an earlier execution are stale. */
  readonly executionId: string;
  readonly status: RuntimeStatus;
  readonly input: string;
  readonly output: string | null;
  readonly customStatus: string | null;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly parent?: ParentLink;
}

/** Something that happened to an instance and waits for its next turn. */
export interface InboxMessage {
  readonly seq: number;
  readonly executionId: string | null;
  readonly at: number;
  readonly fact: HistoryFact;
}

/** An activity that has no outcome yet. */
export interface ActivityItem {
  readonly seq: number;
  readonly instanceId: string;
  readonly executionId: string;
  readonly taskId: number;
  readonly name: string;
  readonly input: string;
}

/** A page of instances; `next` continues after its last. */
interface InstancePage {
  readonly instances: readonly Instance[];
  readonly next?: string;
}

/** Which instances to list or purge. */
export interface InstanceFilter {
  readonly createdFrom?: number;
  readonly createdTo?: number;
  readonly statuses?: readonly string[];
  readonly idPrefix?: string;
}

/** The operations on the tables; each is one statement or a few, none a transaction of its own. */
export interface DurableStore {
  transaction<Result>(work: () => Result): Result;

  readInstance(id: string): Instance | undefined;
  writeInstance(instance: Instance): void;
  listInstances(filter: InstanceFilter, limit: number, after?: string): InstancePage;
  deleteInstance(id: string): void;

  readHistory(id: string): HistoryEvent[];
  appendHistory(id: string, firstSeq: number, events: readonly HistoryEvent[]): void;
  deleteHistory(id: string): void;

  post(id: string, executionId: string | null, at: number, fact: HistoryFact): void;
  readInbox(id: string): InboxMessage[];
  deleteInbox(id: string, upToSeq: number): void;
  listInboxOwners(): string[];

  addActivity(item: Omit<ActivityItem, "seq">): ActivityItem;
  listActivities(): ActivityItem[];
  /** Whether the activity was still there: its outcome counts once only. */
  takeActivity(seq: number): boolean;

  addTimer(id: string, executionId: string, taskId: number, due: number): void;
  deleteTimer(id: string, executionId: string, taskId: number): void;
  deleteTimers(id: string): void;
  nextTimerDue(): number | undefined;
  listDueTimers(now: number): { instanceId: string; executionId: string; taskId: number; due: number }[];

  /** The entity, with its state as JSON text unless it set none; undefined if it does not exist. */
  readEntity(id: string): { readonly state?: string } | undefined;
  writeEntity(id: string, entity: { readonly state?: string } | undefined): void;
  postEntity(id: string, request: string): void;
  readEntityInbox(id: string, limit: number): { seq: number; request: string }[];
  deleteEntityInbox(id: string, upToSeq: number): void;
  listEntityInboxOwners(): string[];
}

const MAX_SEQ = Number.MAX_SAFE_INTEGER;

/** Creates the store on an open file. */
export function createDurableStore(db: Storage): DurableStore {
  return {
    transaction: (work) => db.transaction(work),

    readInstance(id) {
      const row = db.get("SELECT * FROM instances WHERE id = ?", id);
      return row === undefined ? undefined : toInstance(row);
    },
    writeInstance(instance) {
      const { id, name, version, executionId, status, input, output, customStatus, createdAt, updatedAt, parent } =
        instance;
      db.run(
        "INSERT OR REPLACE INTO instances VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        id,
        name,
        version ?? null,
        executionId,
        status,
        input,
        output,
        customStatus,
        createdAt,
        updatedAt,
        parent?.instanceId ?? null,
        parent?.executionId ?? null,
        parent?.taskId ?? null,
      );
    },
    listInstances({ createdFrom = -MAX_SEQ, createdTo = MAX_SEQ, statuses, idPrefix = "" }, limit, after) {
      const [afterCreated, afterId] = after === undefined ? [-MAX_SEQ, ""] : (JSON.parse(after) as [number, string]);
      const rows = db.all(
        `SELECT * FROM instances WHERE (created_at, id) > (?, ?) AND created_at BETWEEN ? AND ?
           AND (? = '' OR instr(?, ',' || status || ',') > 0) AND substr(id, 1, ?) = ?
         ORDER BY created_at, id LIMIT ?`,
        afterCreated,
        afterId,
        createdFrom,
        createdTo,
        statuses === undefined ? "" : "some",
        `,${statuses?.join(",") ?? ""},`,
        idPrefix.length,
        idPrefix,
        limit + 1,
      );
      const instances = rows.slice(0, limit).map(toInstance);
      const last = instances.at(-1);
      return rows.length > limit && last !== undefined
        ? { instances, next: JSON.stringify([last.createdAt, last.id]) }
        : { instances };
    },
    deleteInstance(id) {
      for (const table of ["history", "inbox", "activities", "timers"])
        db.run(`DELETE FROM ${table} WHERE instance_id = ?`, id);
      db.run("DELETE FROM instances WHERE id = ?", id);
    },

    readHistory: (id) =>
      db
        .all("SELECT event FROM history WHERE instance_id = ? ORDER BY seq", id)
        .map((row) => parseEvent(row["event"] as string)),
    appendHistory(id, firstSeq, events) {
      for (const [index, event] of events.entries()) {
        db.run("INSERT INTO history VALUES (?, ?, ?)", id, firstSeq + index, serializeEvent(event));
      }
    },
    deleteHistory: (id) => void db.run("DELETE FROM history WHERE instance_id = ?", id),

    post: (id, executionId, at, fact) =>
      void db.run(
        "INSERT INTO inbox (instance_id, execution_id, at, fact) VALUES (?, ?, ?, ?)",
        id,
        executionId,
        at,
        JSON.stringify(fact),
      ),
    readInbox: (id) =>
      db.all("SELECT * FROM inbox WHERE instance_id = ? ORDER BY seq", id).map((row) => ({
        seq: row["seq"] as number,
        executionId: row["execution_id"] as string | null,
        at: row["at"] as number,
        fact: JSON.parse(row["fact"] as string) as HistoryFact,
      })),
    deleteInbox: (id, upToSeq) => void db.run("DELETE FROM inbox WHERE instance_id = ? AND seq <= ?", id, upToSeq),
    listInboxOwners: () => db.all("SELECT DISTINCT instance_id AS id FROM inbox").map((row) => row["id"] as string),

    addActivity(item) {
      const { instanceId, executionId, taskId, name, input } = item;
      const row = db.get(
        "INSERT INTO activities (instance_id, execution_id, task_id, name, input) VALUES (?, ?, ?, ?, ?) RETURNING seq",
        instanceId,
        executionId,
        taskId,
        name,
        input,
      );
      return { ...item, seq: row?.["seq"] as number };
    },
    listActivities: () =>
      db.all("SELECT * FROM activities ORDER BY seq").map((row) => ({
        seq: row["seq"] as number,
        instanceId: row["instance_id"] as string,
        executionId: row["execution_id"] as string,
        taskId: row["task_id"] as number,
        name: row["name"] as string,
        input: row["input"] as string,
      })),
    takeActivity: (seq) => db.run("DELETE FROM activities WHERE seq = ?", seq) === 1,

    addTimer: (id, executionId, taskId, due) =>
      void db.run("INSERT INTO timers VALUES (?, ?, ?, ?)", id, executionId, taskId, due),
    deleteTimer: (id, executionId, taskId) =>
      void db.run(
        "DELETE FROM timers WHERE instance_id = ? AND execution_id = ? AND task_id = ?",
        id,
        executionId,
        taskId,
      ),
    deleteTimers: (id) => void db.run("DELETE FROM timers WHERE instance_id = ?", id),
    nextTimerDue: () => (db.get("SELECT MIN(due) AS due FROM timers")?.["due"] ?? undefined) as number | undefined,
    listDueTimers: (now) =>
      db.all("SELECT * FROM timers WHERE due <= ? ORDER BY due, instance_id, task_id", now).map((row) => ({
        instanceId: row["instance_id"] as string,
        executionId: row["execution_id"] as string,
        taskId: row["task_id"] as number,
        due: row["due"] as number,
      })),

    readEntity(id) {
      const row = db.get("SELECT state FROM entities WHERE id = ?", id);
      if (row === undefined) return undefined;
      return row["state"] === null ? {} : { state: row["state"] as string };
    },
    writeEntity(id, entity) {
      if (entity === undefined) db.run("DELETE FROM entities WHERE id = ?", id);
      else db.run("INSERT OR REPLACE INTO entities VALUES (?, ?)", id, entity.state ?? null);
    },
    postEntity: (id, request) =>
      void db.run("INSERT INTO entity_inbox (entity_id, request) VALUES (?, ?)", id, request),
    readEntityInbox: (id, limit) =>
      db
        .all("SELECT seq, request FROM entity_inbox WHERE entity_id = ? ORDER BY seq LIMIT ?", id, limit)
        .map((row) => ({
          seq: row["seq"] as number,
          request: row["request"] as string,
        })),
    deleteEntityInbox: (id, upToSeq) =>
      void db.run("DELETE FROM entity_inbox WHERE entity_id = ? AND seq <= ?", id, upToSeq),
    listEntityInboxOwners: () =>
      db.all("SELECT DISTINCT entity_id AS id FROM entity_inbox").map((row) => row["id"] as string),
  };
}

function toInstance(row: Row): Instance {
  return {
    id: row["id"] as string,
    name: row["name"] as string,
    ...(row["version"] !== null && { version: row["version"] as string }),
    executionId: row["execution_id"] as string,
    status: row["status"] as RuntimeStatus,
    input: row["input"] as string,
    output: row["output"] as string | null,
    customStatus: row["custom_status"] as string | null,
    createdAt: row["created_at"] as number,
    updatedAt: row["updated_at"] as number,
    ...(row["parent_id"] !== null && {
      parent: {
        instanceId: row["parent_id"] as string,
        executionId: row["parent_execution_id"] as string,
        taskId: row["parent_task_id"] as number,
      },
    }),
  };
}
