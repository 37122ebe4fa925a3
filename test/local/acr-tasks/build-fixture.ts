// A pair of small images in a registry, sources to upload, and what independent tools say of an image.
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { BlockBlobClient } from "@azure/storage-blob";
import type { LocalAcrTasks } from "../../../local/acr-tasks/acr-tasks.ts";
import { run } from "../../support/run.ts";
import { readTreeFacts } from "../../support/tree-facts.ts";
import { call } from "./support.ts";

/** The tar.gz of some files, made by GNU tar; all have the same old time. */
export async function packSource(folder: string, files: Readonly<Record<string, string>>): Promise<Buffer> {
  const source = mkdtempSync(join(folder, "source-"));
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(source, path)), { recursive: true });
    writeFileSync(join(source, path), content);
  }
  const archive = `${source}.tar.gz`;
  await run("tar", ["--create", "--gzip", `--file=${archive}`, "--mtime=2026-02-03T04:05:06Z", "-C", source, "."]);
  return readFileSync(archive);
}

/** Uploads a source as `az acr build` does and returns its location. */
export async function uploadSource(service: LocalAcrTasks, archive: Buffer): Promise<string> {
  const { body } = await call<{ readonly uploadUrl: string; readonly relativePath: string }>(
    service,
    "POST",
    "listBuildSourceUploadUrl",
  );
  await new BlockBlobClient(body.uploadUrl).uploadData(archive);
  return body.relativePath;
}

/** An image as skopeo and umoci see it. */
export interface SeenImage {
  readonly tree: Readonly<Record<string, string>>;
  /** Unpacked, with times. */
  readonly rootfs: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly manifest: {
    readonly mediaType: string;
    readonly layers: readonly { readonly digest: string; readonly mediaType: string; readonly size: number }[];
  };
}

/** Reads an image with skopeo and unpacks it with umoci. */
export async function seeImage(folder: string, reference: string): Promise<SeenImage> {
  const work = mkdtempSync(join(folder, "seen-"));
  const remote = `docker://${reference}`;
  const manifest = JSON.parse(
    await run("skopeo", ["inspect", "--tls-verify=false", "--raw", remote]),
  ) as SeenImage["manifest"];
  const config = JSON.parse(await run("skopeo", ["inspect", "--tls-verify=false", "--config", "--raw", remote])) as {
    config: SeenImage["config"];
  };
  await run("skopeo", ["copy", "--quiet", "--src-tls-verify=false", remote, `oci:${work}/layout:seen`]);
  await run("umoci", ["unpack", "--image", `${work}/layout:seen`, `${work}/bundle`]);
  const rootfs = join(work, "bundle", "rootfs");
  return { tree: readTreeFacts(rootfs), rootfs, config: config.config, manifest };
}
