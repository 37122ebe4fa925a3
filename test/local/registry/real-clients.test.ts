// The embedded registry under the clients it is for: skopeo and a real Docker daemon.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { createRegistry, type LocalRegistry } from "../../../local/registry/registry.ts";
import { findTool, missingTools } from "../../support/tools.ts";
import {
  digestOf,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_MANIFEST,
  pushBlob,
  putManifest,
  seededBytes,
  startRegistry,
  temporaryFolder,
} from "./support.ts";

const run = promisify(execFile);
const LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip";

/** A ustar archive of one regular file. */
function tarOf(name: string, content: Uint8Array): Buffer {
  const header = Buffer.alloc(512);
  const put = (text: string, offset: number): void => void header.write(text, offset, "latin1");
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, "0")}\0`;
  put(name, 0);
  put(octal(0o644, 7), 100);
  put(octal(0, 7), 108);
  put(octal(0, 7), 116);
  put(octal(content.length, 11), 124);
  put(octal(1_700_000_000, 11), 136);
  put("        0", 148);
  put("ustar\x0000", 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  put(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return Buffer.concat([header, content, Buffer.alloc((512 - (content.length % 512)) % 512), Buffer.alloc(1024)]);
}

/** Pushes an image of real gzip layers, one per content, and returns its manifest's digest and bytes. */
async function pushReal(
  url: string,
  name: string,
  tag: string,
  contents: readonly Uint8Array[],
  headers: Record<string, string> = {},
  architecture = "amd64",
): Promise<{ digest: string; body: string; layers: Buffer[] }> {
  const tars = contents.map((content, index) => tarOf(`file-${index}`, content));
  const layers = tars.map((tar) => gzipSync(tar));
  const config = Buffer.from(
    JSON.stringify({
      os: "linux",
      architecture,
      config: { Cmd: ["/file-0"], Env: ["A=b"] },
      rootfs: { type: "layers", diff_ids: tars.map((tar) => digestOf(tar)) },
    }),
  );
  for (const bytes of [config, ...layers]) await pushBlob(url, name, bytes, headers);
  const body = JSON.stringify({
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: { mediaType: OCI_CONFIG, digest: digestOf(config), size: config.length },
    layers: layers.map((layer) => ({ mediaType: LAYER_GZIP, digest: digestOf(layer), size: layer.length })),
  });
  const response = await fetch(`${url}/v2/${name}/manifests/${tag}`, {
    method: "PUT",
    body,
    headers: { "Content-Type": OCI_MANIFEST, ...headers },
  });
  expect(response.status).toBe(201);
  return { digest: digestOf(Buffer.from(body)), body, layers };
}

const noSkopeo = missingTools("skopeo");

describe.skipIf(noSkopeo !== undefined)("skopeo", () => {
  const skopeo = async (...args: string[]): Promise<string> =>
    (await run("skopeo", args, { maxBuffer: 1 << 26 })).stdout;
  const PLAIN = ["--src-tls-verify=false", "--dest-tls-verify=false"];

  test("copies an image out and in again, unchanged to the byte", async () => {
    const [from, to] = [await startRegistry(), await startRegistry()];
    const { digest, body, layers } = await pushReal(from.url, "team/app", "1", [
      seededBytes(30, 3_000_000),
      seededBytes(31, 10),
    ]);
    const folder = join(await temporaryFolder(), "image");
    await skopeo("copy", ...PLAIN, `docker://${from.host}/team/app:1`, `dir:${folder}`);
    expect(await readFile(join(folder, "manifest.json"), "utf8")).toBe(body);
    for (const layer of layers) {
      expect((await readFile(join(folder, digestOf(layer).slice("sha256:".length)))).equals(layer)).toBe(true);
    }
    await skopeo("copy", ...PLAIN, "--preserve-digests", `dir:${folder}`, `docker://${to.host}/mirror/team/app:1`);
    const inspected = await skopeo("inspect", "--tls-verify=false", `docker://${to.host}/mirror/team/app:1`);
    expect(JSON.parse(inspected)).toMatchObject({ Digest: digest, RepoTags: ["1"], Architecture: "amd64" });
    expect(await skopeo("inspect", "--raw", "--tls-verify=false", `docker://${to.host}/mirror/team/app:1`)).toBe(body);
  });

  test("copies a multi-arch index with all its images, lists tags and deletes", async () => {
    const registry = await startRegistry();
    const entries: object[] = [];
    for (const architecture of ["amd64", "arm64"]) {
      const { digest, body } = await pushReal(
        registry.url,
        "a",
        architecture,
        [seededBytes(32, 50_000)],
        {},
        architecture,
      );
      entries.push({ mediaType: OCI_MANIFEST, digest, size: body.length, platform: { os: "linux", architecture } });
    }
    const index = JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: entries });
    await putManifest(registry.url, "a", "all", index, OCI_INDEX);
    const image = `docker://${registry.host}`;
    await skopeo("copy", "--all", ...PLAIN, `${image}/a:all`, `${image}/b/c:all`);
    expect(await skopeo("inspect", "--raw", "--tls-verify=false", `${image}/b/c:all`)).toBe(index);
    const tags = await skopeo("list-tags", "--tls-verify=false", `${image}/a`);
    expect(JSON.parse(tags)).toMatchObject({ Tags: ["all", "amd64", "arm64"] });
    await skopeo("delete", "--tls-verify=false", `${image}/b/c:all`);
    await expect(skopeo("inspect", "--raw", "--tls-verify=false", `${image}/b/c:all`)).rejects.toThrow(
      "manifest unknown",
    );
  });

  test.each(["basic", "bearer"] as const)("logs in by %s, and may do what its scope map says", async (challenge) => {
    const users = [
      { name: "admin", password: "pass:word" },
      { name: "device", password: "d", grants: [{ repository: "team/app", actions: ["pull"] as const }] },
    ];
    const refusal = challenge === "basic" ? /denied/ : /unauthorized/;
    const registry = await startRegistry({ auth: { challenge, users } });
    const Authorization = `Basic ${Buffer.from("admin:pass:word").toString("base64")}`;
    await pushReal(registry.url, "team/app", "1", [seededBytes(33, 1000)], { Authorization });
    const folder = `dir:${join(await temporaryFolder(), "image")}`;
    const image = `docker://${registry.host}/team/app`;
    await skopeo("copy", "--src-creds=device:d", ...PLAIN, `${image}:1`, folder);
    await skopeo("copy", "--dest-creds=admin:pass:word", ...PLAIN, folder, `${image}:2`);
    await expect(skopeo("copy", "--dest-creds=device:d", ...PLAIN, folder, `${image}:3`)).rejects.toThrow(refusal);
    await expect(skopeo("copy", "--src-creds=device:x", ...PLAIN, `${image}:1`, folder)).rejects.toThrow(
      /unauthorized/,
    );
    await expect(skopeo("copy", ...PLAIN, `${image}:1`, folder)).rejects.toThrow(/unauthorized/);
    const tags = await fetch(`${registry.url}/v2/team/app/tags/list`, { headers: { Authorization } });
    expect(await tags.json()).toMatchObject({ tags: ["1", "2"] });
  });
});

/** Why the daemon cannot be tried here; said once on stderr. */
function missingDocker(): string | undefined {
  const reason = missingTools("dockerd", "docker");
  if (reason !== undefined || process.getuid?.() === 0) return reason;
  process.stderr.write("skipped: the tests with a Docker daemon need root\n");
  return "needs root";
}
const noDocker = missingDocker();

describe.skipIf(noDocker !== undefined)("a Docker daemon", () => {
  let folder = "";
  let socket = "";
  let registry: LocalRegistry;
  let stop: () => Promise<void> = () => Promise.resolve();
  const docker = async (...args: string[]): Promise<string> => {
    const env = { ...process.env, DOCKER_CONFIG: join(folder, "config") };
    return (await run("docker", ["-H", `unix://${socket}`, ...args], { env })).stdout;
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "lighter-dockerd-"));
    socket = join(folder, "docker.sock");
    registry = await createRegistry({ folder: join(folder, "registry") });
    const flags = ["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=overlay2"];
    const own = [
      "--data-root",
      join(folder, "data"),
      "--exec-root",
      join(folder, "exec"),
      "--pidfile",
      join(folder, "pid"),
    ];
    const program = findTool("dockerd") ?? "dockerd";
    const child = spawn(program, [...flags, ...own, "-H", `unix://${socket}`], { stdio: ["ignore", "ignore", "pipe"] });
    const exited = once(child, "exit");
    stop = async () => {
      child.kill("SIGTERM");
      await exited;
    };
    await new Promise<void>((resolve, reject) => {
      let log = "";
      child.stderr.on("data", (chunk: Buffer) => {
        log += chunk.toString();
        if (log.includes("API listen on")) resolve();
      });
      child.once("exit", () => reject(new Error(`dockerd ended: ${log}`)));
    });
  }, 60_000);

  afterAll(async () => {
    await stop();
    await registry.close();
    await rm(folder, { recursive: true, force: true });
  });

  test("pulls an image, then only what a second one adds, as its own listener counts", async () => {
    const base = seededBytes(34, 2_000_000);
    await pushReal(registry.url, "team/app", "1", [base]);
    const second = await pushReal(registry.url, "team/app", "2", [base, seededBytes(35, 100)]);
    const url = await registry.endpoint("device-1");
    const image = `${new URL(url).host}/team/app`;
    await docker("pull", `${image}:1`);
    const first = registry.traffic("device-1");
    expect(first.responseBytes).toBeGreaterThan(2_000_000);
    expect(first.responseBytes).toBeLessThan(2_010_000);
    await docker("pull", `${image}:2`);
    expect(registry.traffic("device-1").responseBytes - first.responseBytes).toBeLessThan(8000);
    const [inspected] = JSON.parse(await docker("image", "inspect", `${image}:2`)) as Record<string, unknown>[];
    expect(inspected).toMatchObject({
      RepoDigests: [`${image}@${second.digest}`],
      Config: { Cmd: ["/file-0"], Env: ["A=b"] },
    });
    await docker("pull", `${image}@${second.digest}`);
  }, 60_000);

  test("logs in, pushes to another repository and pulls that back by digest", async () => {
    const users = [{ name: "builder", password: "p" }];
    const auth = { challenge: "bearer", users } as const;
    const guarded = await startRegistry({ auth });
    const Authorization = `Basic ${Buffer.from("builder:p").toString("base64")}`;
    await pushReal(guarded.url, "from/app", "1", [seededBytes(36, 300_000)], { Authorization });
    await expect(docker("pull", `${guarded.host}/from/app:1`)).rejects.toThrow(/unauthorized/);
    await docker("login", "-u", "builder", "-p", "p", guarded.host);
    await docker("pull", `${guarded.host}/from/app:1`);
    await docker("tag", `${guarded.host}/from/app:1`, `${guarded.host}/to/app:9`);
    const output = await docker("push", `${guarded.host}/to/app:9`);
    expect(output).toContain("Mounted from from/app");
    const digest = /digest: (sha256:[0-9a-f]{64})/.exec(output)?.[1] ?? "none";
    const held = await fetch(`${guarded.url}/v2/to/app/manifests/9`, { headers: { Authorization } });
    expect(held.headers.get("docker-content-digest")).toBe(digest);
    await docker("image", "rm", `${guarded.host}/to/app:9`, `${guarded.host}/from/app:1`);
    await docker("pull", `${guarded.host}/to/app@${digest}`);
  }, 60_000);

  test("recovers from a blob that is cut and notices one that is damaged", async () => {
    const { layers } = await pushReal(registry.url, "faulty", "1", [seededBytes(37, 400_000)]);
    const path = digestOf(layers[0] ?? Buffer.alloc(0));
    registry.faults.inject({ match: { method: "GET", path }, effect: { kind: "truncate", afterBytes: 200_000 } });
    await docker("pull", `${registry.host}/faulty:1`);
    await docker("image", "rm", `${registry.host}/faulty:1`);
    registry.faults.inject({ match: { method: "GET", path }, times: 10, effect: { kind: "corrupt", offset: 100 } });
    await expect(docker("pull", `${registry.host}/faulty:1`)).rejects.toThrow(
      /verification failed|unexpected EOF|invalid/,
    );
    registry.faults.clear();
  }, 60_000);

  test("leaves nothing running behind", async () => {
    await stop();
    expect((await readdir(folder)).includes("pid")).toBe(false);
  }, 60_000);
});
