// Runs parsed queries over the index, page by page.
import { createHash } from "node:crypto";
import type { DeviceStore } from "./device-store.ts";
import { type Read, type ReaderOf, compileSelector } from "./expression.ts";
import { badRequest } from "./iot-hub-error.ts";
import type { Json, JsonObject } from "./json.ts";
import { type AggregateName, type Column, type Query, isAggregated } from "./query.ts";
import { readPath, readerOfTwin } from "./twin-reader.ts";
import { type TwinState, renderTwin } from "./twin.ts";

/** A page of results. */
interface Page {
  readonly items: readonly Json[];
  /** Where the next page starts; undefined on the last page. */
  readonly continuation: string | undefined;
  readonly itemType: "Twin" | "Raw" | "DeviceJob";
}

/** What a page is asked for. */
interface PageRequest {
  readonly limit: number;
  readonly continuation: string | undefined;
}

/** Rows of one kind: found from a position on, read by path, shown whole. */
interface Rows<Row> {
  readonly itemType: "Twin" | "DeviceJob";
  readonly readerOf: ReaderOf<Row>;
  render(row: Row): JsonObject;
  /** Calls `visit` for rows from a position on, with each row's position, until it returns false. */
  scan(from: number, visit: (row: Row, position: number) => boolean): void;
}

/** The rows of `devices.jobs`, in the order in which they came to be. */
export type JobRows = () => readonly JsonObject[];

/** The modules of one device are told apart below this many. */
const PLACES_PER_DEVICE = 1_000;

function twinRows(devices: DeviceStore, modules: boolean): Rows<TwinState> {
  return {
    itemType: "Twin",
    readerOf: readerOfTwin,
    render: renderTwin,
    scan(from, visit) {
      const places = devices.places();
      for (let index = Math.floor(from / PLACES_PER_DEVICE); index < places.length; index++) {
        const device = places[index];
        if (device === undefined) continue;
        const base = index * PLACES_PER_DEVICE;
        if (!modules) {
          if (base >= from && device.twin.indexed !== undefined && !visit(device.twin.indexed, base)) return;
          continue;
        }
        for (let offset = 0; offset < device.modules.length; offset++) {
          const twin = device.modules[offset]?.indexed;
          if (twin !== undefined && base + offset >= from && !visit(twin, base + offset)) return;
        }
      }
    },
  };
}

function jobRows(jobs: JobRows): Rows<JsonObject> {
  return {
    itemType: "DeviceJob",
    readerOf: (path) => (row) => readPath(row, path),
    render: (row) => row,
    scan(from, visit) {
      const rows = jobs();
      for (let position = from; position < rows.length; position++)
        if (!visit(rows[position] as JsonObject, position)) return;
    },
  };
}

/** A query ready to run any number of times. */
export interface RunnableQuery {
  page(request: PageRequest): Page;
  /** The number of rows the query has. */
  countRows(): number;
}

function project<Row>(columns: readonly Column[], readerOf: ReaderOf<Row>): (row: Row) => JsonObject {
  const readers = columns.map(({ as, path }) => ({ as, read: readerOf(path ?? []) }));
  return (row) => {
    const item: Record<string, Json> = {};
    for (const { as, read } of readers) {
      const value = read(row);
      if (value !== undefined) item[as] = value as Json;
    }
    return item;
  };
}

function aggregate(name: AggregateName, values: readonly unknown[]): Json | undefined {
  if (name === "COUNT") return values.length;
  const numbers = values.filter((value) => typeof value === "number");
  if (numbers.length === 0) return undefined;
  const sum = numbers.reduce((total, value) => total + value, 0);
  if (name === "SUM") return sum;
  if (name === "AVG") return sum / numbers.length;
  return numbers.reduce((best, value) => (name === "MIN" ? Math.min(best, value) : Math.max(best, value)));
}

/** One group under construction: the row that named it, the number of its rows, and the values to aggregate. */
interface Group<Row> {
  readonly sample: Row | undefined;
  rows: number;
  readonly values: unknown[][];
}

function aggregateRows<Row>(query: Query, rows: Rows<Row>, selects: (row: Row) => boolean): JsonObject[] {
  const columns = query.columns as readonly Column[];
  const keys = query.groupBy.map((path) => rows.readerOf(path));
  const readers: (Read<Row> | undefined)[] = columns.map(({ kind, path }) =>
    kind === "aggregate" && path !== undefined ? rows.readerOf(path) : undefined,
  );
  const groups = new Map<string, Group<Row>>();
  const open = (key: string, sample: Row | undefined): Group<Row> => {
    const group = { sample, rows: 0, values: columns.map(() => []) };
    groups.set(key, group);
    return group;
  };
  if (keys.length === 0) open("[]", undefined);
  rows.scan(0, (row) => {
    if (!selects(row)) return true;
    const key = JSON.stringify(keys.map((read) => read(row) ?? ["undefined"]));
    const group = groups.get(key) ?? open(key, row);
    group.rows += 1;
    readers.forEach((read, column) => {
      if (read !== undefined) group.values[column]?.push(read(row));
    });
    return true;
  });
  return [...groups.values()].map(({ sample, rows: size, values }) => {
    const item: Record<string, Json> = {};
    columns.forEach((column, index) => {
      let value: unknown;
      if (column.kind === "path") value = sample === undefined ? undefined : rows.readerOf(column.path)(sample);
      else value = column.name === "COUNT" ? size : aggregate(column.name, values[index] ?? []);
      if (value !== undefined) item[column.as] = value as Json;
    });
    return item;
  });
}

function readContinuation(continuation: string | undefined, fingerprint: string): { from: number; seen: number } {
  if (continuation === undefined) return { from: 0, seen: 0 };
  const [mark, from, seen] = Buffer.from(continuation, "base64").toString().split(":");
  if (mark !== fingerprint || !/^[0-9]+$/.test(from ?? "") || !/^[0-9]+$/.test(seen ?? "")) {
    throw badRequest("BadRequest: The continuation token does not belong to this query");
  }
  return { from: Number(from), seen: Number(seen) };
}

function createRunnable<Row>(query: Query, text: string, rows: Rows<Row>): RunnableQuery {
  const fingerprint = createHash("sha256").update(text).digest("hex").slice(0, 16);
  const selects = query.where === undefined ? () => true : compileSelector(query.where, rows.readerOf);
  const render = query.columns === "*" ? (row: Row) => rows.render(row) : project(query.columns, rows.readerOf);
  const itemType = query.columns === "*" ? rows.itemType : "Raw";
  const top = query.top ?? Number.POSITIVE_INFINITY;
  const token = (from: number, seen: number): string =>
    Buffer.from(`${fingerprint}:${from}:${seen}`).toString("base64");

  return {
    page({ limit, continuation }) {
      const { from, seen } = readContinuation(continuation, fingerprint);
      const size = Math.min(limit, top - seen);
      if (isAggregated(query)) {
        const items = aggregateRows(query, rows, selects).slice(0, Math.min(top, Number.MAX_SAFE_INTEGER));
        const end = from + size;
        return {
          items: items.slice(from, end),
          continuation: end < items.length ? token(end, end) : undefined,
          itemType,
        };
      }
      const items: JsonObject[] = [];
      let next: number | undefined;
      rows.scan(from, (row, position) => {
        if (!selects(row)) return true;
        if (items.length === size) {
          next = position;
          return false;
        }
        items.push(render(row));
        return true;
      });
      const done = next === undefined || seen + items.length >= top;
      return { items, continuation: done ? undefined : token(next as number, seen + items.length), itemType };
    },
    countRows() {
      if (isAggregated(query)) return aggregateRows(query, rows, selects).length;
      let found = 0;
      rows.scan(0, (row) => {
        if (selects(row)) found += 1;
        return found < top;
      });
      return found;
    },
  };
}

/** Prepares a parsed query; `text` ties continuation tokens to it. */
export function prepareQuery(query: Query, text: string, devices: DeviceStore, jobs: JobRows): RunnableQuery {
  if (query.source === "devices.jobs") return createRunnable(query, text, jobRows(jobs));
  return createRunnable(query, text, twinRows(devices, query.source === "devices.modules"));
}
