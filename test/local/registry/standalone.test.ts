// The registry as a process of its own: killed at any moment it comes back consistent, and big blobs do not make it grow.
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { expect, onTestFinished, test } from "vitest";
import { createRegistry } from "../../../local/registry/registry.ts";
import { count } from "../../counts.ts";
import { createRandom, digestOf, pushImage, seededBytes, temporaryFolder } from "./support.ts";

const MAIN = resolve(import.meta.dirname, "../../../local/registry/main.ts");

interface Standalone {
  readonly url: string;
  readonly child: ChildProcess;
  kill(signal: NodeJS.Signals): Promise<void>;
}

/** Starts the registry's own program and reads its URL from the first line of its output. */
async function startStandalone(folder: string, ...args: string[]): Promise<Standalone> {
  const child = spawn(process.execPath, [MAIN, "--folder", folder, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal);
    await exited;
  };
  onTestFinished(() => kill("SIGKILL"));
  const [line] = (await once(createInterface(child.stdout), "line")) as [string];
  const { url } = JSON.parse(line) as { url: string };
  return { url, child, kill };
}

test("prints where it listens, and ends on SIGTERM", async () => {
  const folder = await temporaryFolder();
  const registry = await startStandalone(folder, "--user", "ann:p");
  expect((await fetch(`${registry.url}/v2/`)).status).toBe(401);
  await registry.kill("SIGTERM");
  expect(registry.child.exitCode).toBe(0);
});

test("an upload cut by kill -9 goes on where it stopped", async () => {
  const folder = await temporaryFolder();
  const bytes = seededBytes(20, 8_000_000);
  const first = await startStandalone(folder);
  const started = await fetch(`${first.url}/v2/team/app/blobs/uploads/`, { method: "POST" });
  const location = started.headers.get("location") ?? "";
  async function* half(): AsyncGenerator<Uint8Array> {
    yield bytes.subarray(0, 5_000_000);
    await new Promise(() => undefined);
  }
  const sending = fetch(first.url + location, { method: "PATCH", body: ReadableStream.from(half()), duplex: "half" });
  const cut = sending.then(
    () => "answered",
    () => "cut",
  );
  const arrived = async (url: string): Promise<number> =>
    Number((await fetch(url + location)).headers.get("range")?.split("-")[1]) + 1;
  await expect.poll(() => arrived(first.url), { timeout: 10_000 }).toBeGreaterThan(1_000_000);
  await first.kill("SIGKILL");
  expect(await cut).toBe("cut");

  const second = await startStandalone(folder);
  const size = await arrived(second.url);
  expect(size).toBeGreaterThan(1_000_000);
  const finished = await fetch(`${second.url}${location}?digest=${digestOf(bytes)}`, {
    method: "PUT",
    body: bytes.subarray(size),
    headers: { "Content-Range": `${size}-${bytes.length - 1}` },
  });
  expect(finished.status).toBe(201);
  const read = await fetch(`${second.url}/v2/team/app/blobs/${digestOf(bytes)}`);
  expect(Buffer.from(await read.arrayBuffer()).equals(bytes)).toBe(true);
});

test("after kill -9 during pushes everything acknowledged is there and everything listed is whole", async () => {
  const folder = await temporaryFolder();
  const random = createRandom(21);
  const acknowledged = new Map<string, string>();
  let pushed = 0;
  for (let round = 0; round < count("registryKills"); round++) {
    const registry = await startStandalone(folder);
    let requests = random() % 40;
    const push = async (): Promise<void> => {
      for (;;) {
        const tag = `t${pushed++}`;
        const image = await pushImage(registry.url, "team/app", tag, seededBytes(pushed % 7, 200_000));
        acknowledged.set(tag, image.digest);
        if (requests-- <= 0) return await registry.kill("SIGKILL");
      }
    };
    await Promise.allSettled([push(), push(), push(), push()]);
  }
  expect(acknowledged.size).toBeGreaterThan(0);

  const { url } = await startStandalone(folder);
  const tags: string[] = [];
  for (let path: string | undefined = "/v2/team/app/tags/list"; path !== undefined;) {
    const page: Response = await fetch(url + path);
    tags.push(...((await page.json()) as { tags: string[] }).tags);
    path = /^<([^>]*)>/.exec(page.headers.get("link") ?? "")?.[1];
  }
  expect(tags).toEqual(expect.arrayContaining([...acknowledged.keys()]));
  for (const tag of tags) {
    const response = await fetch(`${url}/v2/team/app/manifests/${tag}`);
    const body = await response.text();
    expect(response.headers.get("docker-content-digest")).toBe(digestOf(Buffer.from(body)));
    if (acknowledged.has(tag)) expect(digestOf(Buffer.from(body))).toBe(acknowledged.get(tag));
    const manifest = JSON.parse(body) as { layers: { digest: string }[]; config: { digest: string } };
    for (const { digest } of [manifest.config, ...manifest.layers]) {
      const blob = await fetch(`${url}/v2/team/app/blobs/${digest}`);
      expect(digestOf(new Uint8Array(await blob.arrayBuffer()))).toBe(digest);
    }
  }
  expect(await readdir(join(folder, "staging"))).toEqual([]);
}, 240_000);

test("a second registry on the same folder is refused until the first is gone, however it went", async () => {
  const folder = await temporaryFolder();
  const first = await startStandalone(folder);
  await expect(createRegistry({ folder })).rejects.toMatchObject({ code: "FOLDER_UNUSABLE" });
  await first.kill("SIGKILL");
  await (await createRegistry({ folder })).close();
});

test.runIf(process.platform === "linux")(
  "memory does not grow with the size of a blob: 500 MB up and down (reads /proc, so on Linux only)",
  async () => {
    const MEGABYTE = 1_000_000;
    const registry = await startStandalone(await temporaryFolder());
    const peak = async (): Promise<number> => {
      const status = await readFile(`/proc/${registry.child.pid}/status`, "utf8");
      return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1000;
    };
    const block = seededBytes(22, MEGABYTE);
    const move = async (megabytes: number): Promise<void> => {
      const hash = createHash("sha256");
      async function* blocks(): AsyncGenerator<Uint8Array> {
        for (let index = 0; index < megabytes; index++) {
          block.writeUInt32LE(index, 0);
          const copy = Buffer.from(block);
          hash.update(copy);
          yield copy;
        }
      }
      const started = await fetch(`${registry.url}/v2/big/blobs/uploads/`, { method: "POST" });
      const location = registry.url + (started.headers.get("location") ?? "");
      const body = ReadableStream.from(blocks());
      expect((await fetch(location, { method: "PATCH", body, duplex: "half" })).status).toBe(202);
      const digest = `sha256:${hash.digest("hex")}`;
      expect((await fetch(`${location}?digest=${digest}`, { method: "PUT" })).status).toBe(201);
      let received = 0;
      const response = await fetch(`${registry.url}/v2/big/blobs/${digest}`);
      for await (const chunk of response.body ?? []) received += (chunk as Uint8Array).length;
      expect(received).toBe(megabytes * MEGABYTE);
    };
    await move(100);
    const small = await peak();
    await move(500);
    const large = await peak();
    expect(large).toBeLessThan(256);
    expect(large).toBeLessThan(small * 1.2);
  },
  60_000,
);
