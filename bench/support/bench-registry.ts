// The registry that benches talk to: Debian's docker-registry, or the embedded one where that is absent.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRegistry } from "../../local/registry/registry.ts";
import { startDebianRegistry } from "../../test/support/debian-registry.ts";
import { findTool } from "../../test/support/tools.ts";
import { createCountingProxy } from "./counting-proxy.ts";

/** A registry in a temporary folder. */
export interface BenchRegistry {
  readonly name: "docker-registry" | "local/registry";
  /** For pushing fixtures, uncounted. */
  readonly url: string;
  /** For the measured programs: a proxy that counts. */
  readonly countedHost: string;
  /** Bytes that the registry sent through the counted host since the last call, headers included. */
  takeBytesRead(): number;
  close(): Promise<void>;
}

/** Starts the registry, the reference implementation if this machine has it. */
export async function startBenchRegistry(): Promise<BenchRegistry> {
  const folder = mkdtempSync(join(tmpdir(), "lighter-bench-registry-"));
  const name = findTool("docker-registry") === undefined ? "local/registry" : "docker-registry";
  const registry = name === "docker-registry" ? await startDebianRegistry(folder) : await createRegistry({ folder });
  const proxy = await createCountingProxy(Number(new URL(registry.url).port));
  return {
    name,
    url: registry.url,
    countedHost: proxy.host,
    takeBytesRead: () => proxy.takeBytesRead(),
    async close() {
      await proxy.close();
      await registry.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
