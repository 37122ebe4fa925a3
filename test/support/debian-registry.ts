// Starts Debian's docker-registry, the reference implementation, on a free port of the loopback.
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { findTool } from "./tools.ts";

/** A running registry: `url` like `http://127.0.0.1:41234`, `host` the same without the scheme. */
export interface DebianRegistry {
  readonly url: string;
  readonly host: string;
  close(): Promise<void>;
}

/** Optional behaviour: `htpasswd` is the text of a password file (bcrypt), which turns Basic authentication on. */
export interface DebianRegistryOptions {
  readonly htpasswd?: string;
}

/** Starts the registry with its storage in `folder`, which must exist; rejects with its log when it does not come up. */
export async function startDebianRegistry(
  folder: string,
  { htpasswd }: DebianRegistryOptions = {},
): Promise<DebianRegistry> {
  const config = join(folder, "config.yml");
  const settings = {
    version: "0.1",
    log: { level: "info", accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(folder, "storage") }, delete: { enabled: true } },
    http: { addr: "127.0.0.1:0", secret: "only for this process" },
    ...(htpasswd === undefined ? {} : { auth: { htpasswd: { realm: "registry", path: join(folder, "htpasswd") } } }),
  };
  if (htpasswd !== undefined) writeFileSync(join(folder, "htpasswd"), htpasswd);
  writeFileSync(config, JSON.stringify(settings)); // Every JSON document is YAML.
  const child = spawn(findTool("docker-registry") ?? "docker-registry", ["serve", config], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const exited = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const log: string[] = [];
  const host = await new Promise<string>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`docker-registry exited with ${code}:\n${log.join("\n")}`)));
    createInterface(child.stderr).on("line", (line) => {
      log.push(line);
      if (log.length > 100) log.shift();
      const listening = /listening on (127\.0\.0\.1:\d+)/.exec(line)?.[1];
      if (listening !== undefined) resolve(listening);
    });
  });
  return {
    url: `http://${host}`,
    host,
    async close() {
      child.kill();
      await exited;
    },
  };
}
