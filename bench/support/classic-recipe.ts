// The published recipe as a peer: a two-stage Dockerfile built by buildah, then pushed, from empty storage.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { APP_FOLDER } from "../../local/demo/model-layer.ts";
import { findTool } from "../../test/support/tools.ts";
import { measureProcess, type ProcessCost } from "./measure-process.ts";

/** Builds `HOST/REPOSITORY:TAG` out of versions 1 and 2; emptying the storage before and after is not measured. */
export async function measureClassicRecipe(host: string, repository: string, tag: string): Promise<ProcessCost> {
  const folder = mkdtempSync(join(tmpdir(), "lighter-buildah-"));
  const context = join(folder, "context");
  mkdirSync(context);
  writeFileSync(
    join(context, "Dockerfile"),
    `FROM ${host}/${repository}:2 AS model\nFROM ${host}/${repository}:1\nCOPY --from=model /${APP_FOLDER} /${APP_FOLDER}\n`,
  );
  const buildah = `buildah --storage-driver overlay --root ${folder}/root --runroot ${folder}/run`;
  const image = `${host}/${repository}:${tag}`;
  try {
    return await measureProcess("sh", [
      "-ec",
      `${buildah} bud --isolation chroot --tls-verify=false --layers=false -t ${image} ${context}
      ${buildah} push --tls-verify=false ${image}`,
    ]);
  } finally {
    // buildah leaves its storage, and sometimes a stage within, as mounts.
    spawnSync(findTool("umount") ?? "umount", ["--quiet", "--recursive", join(folder, "root", "overlay")], {
      stdio: "ignore",
    });
    rmSync(folder, { recursive: true, force: true });
  }
}
