// JSON documents as rows of an Azure table, with its etags as the lock.
import { odata, RestError, TableClient, type TableEntity } from "@azure/data-tables";
import type { TokenCredential } from "@azure/core-auth";
import { LighterError } from "../../core/errors.ts";
import type { DocumentPage, DocumentStore } from "../../ports/documents.ts";

/** A string property holds at most 32 Ki UTF-16 units; longer documents are spread over several. */
const CHUNK = 32_000;
/** A row holds at most 1 MiB. */
const MAX_CHUNKS = 15;

/** JSON in ASCII alone, so that neither a cut between chunks nor one between packets can split a character. */
function toAscii(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    /[\u0080-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** How to reach a storage account: a connection string, or its endpoint with an identity. */
export type StorageAccess =
  | { readonly connectionString: string }
  | { readonly endpoint: string; readonly credential: TokenCredential };

function toRow(partition: string, key: string, value: unknown): TableEntity {
  const text = toAscii(value);
  const chunks = text.match(new RegExp(`[^]{1,${CHUNK}}`, "g")) ?? [];
  if (chunks.length > MAX_CHUNKS) {
    throw new LighterError("DOCUMENT_TOO_LARGE", {
      operation: "store document",
      subject: `${partition}/${key}`,
      got: `${text.length} characters`,
      want: `at most ${CHUNK * MAX_CHUNKS}`,
    });
  }
  return { partitionKey: partition, rowKey: key, ...Object.fromEntries(chunks.map((chunk, i) => [`json${i}`, chunk])) };
}

function fromRow(row: TableEntity): unknown {
  let text = "";
  for (let i = 0; typeof row[`json${i}`] === "string"; i++) text += row[`json${i}`] as string;
  return JSON.parse(text) as unknown;
}

const hasStatus = (error: unknown, status: number): boolean =>
  error instanceof RestError && error.statusCode === status;

/** Opens the table `name`, creating it on first use. */
export function createDocumentStore<T>(access: StorageAccess, name: string): DocumentStore<T> {
  const client =
    "connectionString" in access
      ? TableClient.fromConnectionString(access.connectionString, name, { allowInsecureConnection: true })
      : new TableClient(access.endpoint, name, access.credential);
  let created: Promise<void> | undefined;
  const table = async (): Promise<TableClient> => {
    created ??= client.createTable();
    await created.catch((error: unknown) => {
      created = undefined;
      throw error;
    });
    return client;
  };

  return {
    async get(partition, key) {
      try {
        const row = await (await table()).getEntity(partition, key);
        return { value: fromRow(row as TableEntity) as T, etag: row.etag };
      } catch (error) {
        if (hasStatus(error, 404)) return undefined;
        throw error;
      }
    },
    async insert(partition, key, value) {
      try {
        await (await table()).createEntity(toRow(partition, key, value));
        return true;
      } catch (error) {
        if (hasStatus(error, 409)) return false;
        throw error;
      }
    },
    async replace(partition, key, value, etag) {
      try {
        await (await table()).updateEntity(toRow(partition, key, value), "Replace", { etag });
        return true;
      } catch (error) {
        if (hasStatus(error, 412) || hasStatus(error, 404)) return false;
        throw error;
      }
    },
    async list(partition, { prefix = "", limit = 100, continuation } = {}) {
      const filter = odata`PartitionKey eq ${partition} and RowKey ge ${prefix} and RowKey lt ${`${prefix}\u{7f}`}`;
      const pages = (await table())
        .listEntities({ queryOptions: { filter } })
        .byPage({ maxPageSize: limit, ...(continuation === undefined ? {} : { continuationToken: continuation }) });
      const readPage = async (): Promise<DocumentPage<T>> => {
        for await (const page of pages) {
          const documents = page.map((row) => fromRow(row as TableEntity) as T);
          return page.continuationToken === undefined
            ? { documents }
            : { documents, continuation: page.continuationToken };
        }
        return { documents: [] };
      };
      try {
        return await readPage();
      } catch (error) {
        if (continuation === undefined || !(error instanceof SyntaxError || hasStatus(error, 400))) throw error;
        throw new LighterError("CONTINUATION_INVALID", {
          operation: "list documents",
          subject: partition,
          got: "a continuation that no list gave",
          cause: error,
        });
      }
    },
  };
}
