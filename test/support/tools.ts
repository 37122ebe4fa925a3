// Finds the real programs that some tests need: absent on a laptop they skip with a reason, in CI they fail.
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** The absolute path of a program on PATH (or in the usual sbin folders), or undefined. */
export function findTool(name: string): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  for (const folder of folders) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      continue;
    }
  }
  return undefined;
}

/**
 * Decides whether a test that needs `tools` may be skipped: returns the reason, or undefined when all are there.
 *
 * In CI (`CI=true`) a missing tool throws instead, so that nothing is skipped silently.
 */
export function missingTools(...tools: string[]): string | undefined {
  const missing = tools.filter((tool) => findTool(tool) === undefined);
  if (missing.length === 0) return undefined;
  const reason = `needs ${missing.join(", ")} (Debian: apt-get install docker-registry skopeo buildah umoci docker.io chromium gcc openssl python3)`;
  if (process.env["CI"] === "true") throw new Error(`a test ${reason}`);
  process.stderr.write(`skipped: a test file ${reason}\n`);
  return reason;
}
