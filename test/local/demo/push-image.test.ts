// Pushing a demo image: what a reference registry then holds, and what a refusal looks like.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildDemoImages, type DemoImages } from "../../../local/demo/images.ts";
import { createRegistry } from "../../../local/registry/registry.ts";
import { startDebianRegistry } from "../../support/debian-registry.ts";
import { missingTools } from "../../support/tools.ts";

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), "demo-push-"));
const progress: { step: string; done: number; total: number }[] = [];
let built: DemoImages;

beforeAll(async () => {
  built = await buildDemoImages({
    folder: join(folder, "images"),
    nodeModulesFolder: resolve(import.meta.dirname, "../../../node_modules/zod"),
    seed: 3,
    dependencyFiles: 50,
    dependencyBytes: 1_000_000,
    versions: [1, 2],
    onProgress: (now) => progress.push(now),
  });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const registries = [
  { name: "the reference registry", tools: ["docker-registry", "skopeo"], start: startDebianRegistry },
  { name: "the embedded registry", tools: ["skopeo"], start: (data: string) => createRegistry({ folder: data }) },
];

describe.each(registries)("a demo image pushed to $name", ({ tools, start }) => {
  test.skipIf(missingTools(...tools))("uploads blobs once and reads back whole, config and all", async () => {
    await using registry = await startDisposable();
    const target = { registryUrl: registry.url, repository: "team/app" };
    const [one, two] = built.images;
    const first = await built.push(1, target);
    const second = await built.push(2, target);
    expect(first.uploadedBytes).toBe(one?.blobs.reduce((sum, { size }) => sum + size, 0));
    expect(second.uploadedBytes).toBe(first.uploadedBytes - (one?.layers.base.size ?? 0) + sizeDifference());
    expect(second).toMatchObject({ tag: "2", digest: two?.digest });
    expect(await built.push(2, target)).toEqual({ ...second, uploadedBytes: 0 });
    expect(progress.findLast(({ step }) => step === "push team/app:1")).toMatchObject({ done: first.uploadedBytes });

    const inspect = async (...flags: string[]): Promise<unknown> => {
      const image = `docker://${registry.host}/team/app:2`;
      return JSON.parse((await run("skopeo", ["inspect", ...flags, "--tls-verify=false", image])).stdout);
    };
    expect(await inspect()).toMatchObject({
      Digest: two?.digest,
      Labels: { "com.azureml.model": "demand-forecast:2" },
      Layers: [two?.layers.base.digest, two?.layers.model.digest, two?.layers.dependencies.digest],
    });
    expect(await inspect("--config")).toMatchObject({
      config: { Entrypoint: ["/usr/local/bin/node", "score.mjs"], WorkingDir: "/var/azureml-app" },
    });

    // skopeo checks every digest and diff id as it copies.
    await run("skopeo", [
      "copy",
      "--quiet",
      "--src-tls-verify=false",
      "--insecure-policy",
      `docker://${registry.host}/team/app:2`,
      `oci:${mkdtempSync(join(folder, "copy-"))}:2`,
    ]);
  });

  async function startDisposable(): Promise<AsyncDisposable & { url: string; host: string }> {
    const registry = await start(mkdtempSync(join(folder, "registry-")));
    return { url: registry.url, host: registry.host, [Symbol.asyncDispose]: () => registry.close() };
  }

  function sizeDifference(): number {
    const [one, two] = built.images;
    const sum = (blobs: readonly { size: number }[] | undefined): number =>
      (blobs ?? []).reduce((total, { size }) => total + size, 0);
    return sum(two?.blobs) - sum(one?.blobs);
  }
});

describe("a registry that refuses", () => {
  test("fails the push with its status and words", async () => {
    const server = createServer((_request, response) => response.writeHead(403).end("repository is locked"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const registryUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      await expect(built.push(1, { registryUrl, repository: "app" })).rejects.toMatchObject({
        name: "DemoImageError",
        code: "PUSH_REFUSED",
        got: expect.stringMatching(/^403/) as string,
      });
    } finally {
      server.close();
    }
  });
});
