// The service's storage: sources that callers upload by SAS URL, and run logs as append blobs that grow.
import { BlobSASPermissions, type BlobServiceClient } from "@azure/storage-blob";
import { RunError } from "./run-error.ts";

/** A writable run log. */
interface LogBlob {
  /** Adds text; earlier additions come first. Failures are kept to themselves: a log must not fail its run. */
  write(text: string): void;
  /** Waits for what was written and sets the metadata `complete`. */
  complete(outcome: string): Promise<void>;
}

/** Sources and logs. */
export interface TaskStorage {
  /** Where to put a tar.gz; the URL is valid for an hour of wall time. */
  createUpload(): Promise<{ readonly relativePath: string; readonly uploadUrl: string }>;
  /** Fetches an uploaded source into a file. @throws RunError SOURCE_UNAVAILABLE */
  download(relativePath: string, file: string): Promise<void>;
  openLog(runId: string): LogBlob;
  /** A readable URL of a log, whether the log exists or not. */
  linkLog(runId: string): Promise<string>;
}

/** What the storage is made of. */
export interface TaskStorageOptions {
  readonly service: BlobServiceClient;
  readonly container: string;
  /** The time in upload paths, in ms. */
  readonly now: () => number;
  readonly createId: () => string;
}

const LINK_LIFETIME_MS = 60 * 60 * 1_000;
/** Clocks of callers may be behind. */
const LINK_LEEWAY_MS = 5 * 60 * 1_000;
/** What one append may carry (Append Block). */
const MAX_BLOCK = 4 << 20;
const SOURCE_PATH = /^source\/\d{12}\/[0-9a-f-]{36}\.tar\.gz$/;

/** Creates the storage; its container is made at once. */
export async function createTaskStorage(options: TaskStorageOptions): Promise<TaskStorage> {
  const container = options.service.getContainerClient(options.container);
  await container.createIfNotExists();
  const link = (name: string, permissions: string): Promise<string> =>
    container.getBlobClient(name).generateSasUrl({
      permissions: BlobSASPermissions.parse(permissions),
      startsOn: new Date(Date.now() - LINK_LEEWAY_MS),
      expiresOn: new Date(Date.now() + LINK_LIFETIME_MS),
    });
  const logName = (runId: string): string => `logs/${runId}/rawtext.log`;

  return {
    async createUpload() {
      const minute = new Date(options.now()).toISOString().replaceAll(/\D/g, "").slice(0, 12);
      const relativePath = `source/${minute}/${options.createId()}.tar.gz`;
      return { relativePath, uploadUrl: await link(relativePath, "cw") };
    },
    async download(relativePath, file) {
      const facts = { operation: "download source", subject: relativePath.slice(0, 200) };
      if (!SOURCE_PATH.test(relativePath)) {
        throw new RunError("SOURCE_UNAVAILABLE", { ...facts, want: "a relative path of listBuildSourceUploadUrl" });
      }
      try {
        await container.getBlobClient(relativePath).downloadToFile(file);
      } catch (cause) {
        const got = (cause as { code?: string }).code ?? String(cause);
        throw new RunError("SOURCE_UNAVAILABLE", { ...facts, got, cause });
      }
    },
    openLog(runId) {
      const blob = container.getAppendBlobClient(logName(runId));
      let waiting: Buffer[] = [];
      let working: Promise<void> = blob.create().then(
        () => undefined,
        () => undefined,
      );
      let scheduled = false;
      const drain = async (): Promise<void> => {
        scheduled = false;
        const bytes = Buffer.concat(waiting);
        waiting = [];
        for (let at = 0; at < bytes.length; at += MAX_BLOCK) {
          const block = bytes.subarray(at, at + MAX_BLOCK);
          await blob.appendBlock(block, block.length).catch(() => undefined);
        }
      };
      // What comes while an append is under way goes with the next: a blob takes 50,000 of them.
      const schedule = (): void => {
        if (scheduled) return;
        scheduled = true;
        working = working.then(drain);
      };
      return {
        write(text) {
          if (text === "") return;
          waiting.push(Buffer.from(text));
          schedule();
        },
        async complete(outcome) {
          await working;
          await blob.setMetadata({ complete: outcome }).catch(() => undefined);
        },
      };
    },
    linkLog: (runId) => link(logName(runId), "r"),
  };
}
