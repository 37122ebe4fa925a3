// Azurite, Microsoft's storage emulator, as a child process on free ports.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { LighterError } from "../src/core/errors.ts";

/** A running storage account. */
export interface Azurite {
  readonly connectionString: string;
  close(): Promise<void>;
}

const ACCOUNT = "lighterlocal";
const SERVICES = ["Blob", "Queue", "Table"] as const;
const LISTENING = /Azurite (Blob|Queue|Table) service is successfully listening at (http:\/\/[\d.:]+)/;

/**
 * Starts Azurite with its data in `folder`; blobs, queues and tables survive a restart, the account key does not change
 * within a process.
 * @throws LighterError AZURITE_FAILED when it ends before it listens
 */
export async function createAzurite({ folder }: { readonly folder: string }): Promise<Azurite> {
  mkdirSync(folder, { recursive: true });
  const key = randomBytes(64).toString("base64");
  const script = createRequire(import.meta.url).resolve("azurite/dist/src/azurite.js");
  const ports = ["--blobPort", "0", "--queuePort", "0", "--tablePort", "0"];
  const child = spawn(process.execPath, [script, ...ports, "--location", folder, "--disableTelemetry"], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, AZURITE_ACCOUNTS: `${ACCOUNT}:${key}` },
  });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => (errors = (errors + chunk.toString()).slice(-2_000)));

  const endpoints = new Map<string, string>();
  await new Promise<void>((resolve, reject) => {
    createInterface(child.stdout).on("line", (line) => {
      const [, service = "", url = ""] = LISTENING.exec(line) ?? [];
      if (service !== "") endpoints.set(service, url);
      if (endpoints.size === SERVICES.length) resolve();
    });
    void exited.then(() =>
      reject(
        new LighterError("AZURITE_FAILED", {
          operation: "start Azurite",
          subject: folder,
          got: errors.trim() || "an early end",
          want: "three listening services",
        }),
      ),
    );
  });
  const parts = SERVICES.map((service) => `${service}Endpoint=${endpoints.get(service)}/${ACCOUNT}`);
  return {
    connectionString: ["DefaultEndpointsProtocol=http", `AccountName=${ACCOUNT}`, `AccountKey=${key}`, ...parts].join(
      ";",
    ),
    async close() {
      child.kill("SIGTERM");
      await exited;
    },
  };
}
