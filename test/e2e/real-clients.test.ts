// The images are right for others: pushed by skopeo, rebased by the command line, pulled and run by a real Docker.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CountingProxy, startCountingProxy } from "../support/counting-proxy.ts";
import { type DebianRegistry, startDebianRegistry } from "../support/debian-registry.ts";
import { type Dockerd, missingRoot, startDockerd } from "../support/dockerd.ts";
import { buildImagePair, type ImagePair } from "../support/image-pair.ts";
import { run, tryRun } from "../support/run.ts";
import { missingTools } from "../support/tools.ts";
import { readTreeFacts } from "../support/tree-facts.ts";

const skip = missingTools("docker-registry", "dockerd", "docker", "skopeo", "gcc", "tar") ?? missingRoot();
const CLI = resolve(import.meta.dirname, "../../src/cli/main.ts");
const MAX_PULL_BYTES = 8 * 1024;

/** What `lighter rebase --json` prints, as far as this test relies on it. */
interface RebaseAnswer {
  readonly anchor: { readonly digest: string };
  readonly result: { readonly reference: string; readonly digest: string };
  readonly layers: readonly { readonly digest: string; readonly size: number }[];
  readonly verified: string;
}

describe.skipIf(skip !== undefined).each(["oci", "v2s2"])("an image pair in %s format", (format) => {
  let folder: string;
  let pair: ImagePair;
  let registry: DebianRegistry;
  let proxy: CountingProxy;
  let daemon: Dockerd;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "lighter-real-clients-"));
    const storage = join(folder, "registry");
    mkdirSync(storage);
    [pair, registry, daemon] = await Promise.all([
      buildImagePair(folder),
      startDebianRegistry(storage),
      startDockerd(),
    ]);
    proxy = await startCountingProxy(registry.host);
    for (const tag of ["1", "2"]) {
      const copy = ["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", "--format", format];
      await run("skopeo", [...copy, `oci:${pair.layout}:${tag}`, `docker://${registry.host}/team/app:${tag}`]);
    }
  });
  afterAll(async () => {
    await daemon?.close();
    await proxy?.close();
    await registry?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const imageOf = (tag: string): string => `${proxy.host}/team/app:${tag}`;
  const rebase = async (tag: string): Promise<RebaseAnswer> => {
    const [anchor, candidate] = ["1", "2"].map((from) => `${registry.host}/team/app:${from}`) as [string, string];
    const { code, stdout, stderr } = await tryRun(process.execPath, [
      CLI,
      "rebase",
      anchor,
      candidate,
      "--tag",
      tag,
      "--json",
    ]);
    expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
    return JSON.parse(stdout) as RebaseAnswer;
  };
  const pull = async (tag: string): Promise<number> => {
    proxy.take();
    await daemon.docker("pull", "--quiet", imageOf(tag));
    return proxy.take().down;
  };
  const exportTree = async (tag: string): Promise<Record<string, string>> => {
    const target = mkdtempSync(join(folder, "export-"));
    const container = (await daemon.docker("create", imageOf(tag))).trim();
    await daemon.docker("export", "--output", `${target}.tar`, container);
    await daemon.docker("rm", container);
    await run("tar", ["--extract", `--file=${target}.tar`, "--numeric-owner", "--same-owner", "-p", "-C", target]);
    return readTreeFacts(target);
  };
  const inspectConfig = async (tag: string): Promise<Record<string, unknown>> =>
    JSON.parse(await daemon.docker("inspect", "--format", "{{json .Config}}", imageOf(tag))) as Record<string, unknown>;
  const runImage = (tag: string): Promise<string> =>
    daemon.docker("run", "--rm", "--network", "none", "--hostname", "device", imageOf(tag));

  test("runs as built: each image with its own config and files", async () => {
    expect(await pull("1")).toBeGreaterThan(pair.dependencyBytes);
    expect(await pull("2")).toBeGreaterThan(pair.dependencyBytes);
    expect(await runImage("1")).toMatch(/argument one\n[^]*user 0:0 in \/\n[^]*obsolete file there\n/);
    expect(await runImage("2")).toMatch(/argument two\nargument and a half\n[^]*user 1001:100 in \/app\n[^]*gone\n/);
    expect(await exportTree("1")).not.toEqual(await exportTree("2"));
    await daemon.docker("image", "rm", "--force", imageOf("1"), imageOf("2"));
  });

  test("is pulled over its predecessor for kilobytes, equals its successor and runs as it", async () => {
    const first = await rebase("iot-2");
    const second = await rebase("iot-2-again");
    expect(first.verified).toBe("exact");
    expect(second.result.digest).toBe(first.result.digest);
    expect(second.layers).toEqual(first.layers);

    expect(await pull("1")).toBeGreaterThan(pair.dependencyBytes);
    const rebasedBytes = await pull("iot-2");
    const fullBytes = await pull("2");
    expect(rebasedBytes).toBeGreaterThan(0);
    expect(rebasedBytes).toBeLessThanOrEqual(MAX_PULL_BYTES);
    expect(fullBytes).toBeGreaterThan(pair.dependencyBytes);
    process.stderr.write(`${format}: docker pulled ${rebasedBytes} B rebased, ${fullBytes} B as built\n`);

    const [before, rebased, successor] = [await exportTree("1"), await exportTree("iot-2"), await exportTree("2")];
    expect(rebased).toEqual(successor);
    expect(rebased).not.toEqual(before);
    expect(rebased["app/shared-c"]).toContain("linked to app/shared-a");
    expect(Object.keys(successor).filter((path) => path.startsWith("opt/conda/")).length).toBeGreaterThan(300);

    expect(await inspectConfig("iot-2")).toEqual(await inspectConfig("2"));
    expect(await runImage("iot-2")).toBe(await runImage("2"));
    expect(await runImage("iot-2")).toContain("argument and a half\n");
    expect(await runImage("iot-2")).not.toBe(await runImage("1"));
  });
});
