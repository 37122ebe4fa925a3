// `lighter up`, `baseline`, `releases` and `status` as real processes, and what they say when something is wrong.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const MAIN = resolve(import.meta.dirname, "../../src/cli/main.ts");

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  const { LIGHTER_API: _api, LIGHTER_KEY: _key, ...rest } = process.env;
  return spawn(process.execPath, [MAIN, ...args], { env: { ...rest, ...env }, stdio: ["ignore", "pipe", "pipe"] });
}

async function lighter(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  const child = start(args, env);
  let [stdout, stderr] = ["", ""];
  child.stdout?.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout, stderr };
}

describe("wrong usage", () => {
  test.each([
    [["up", "--devices", "abc"], "whole number from 0 to 100"],
    [["up", "--registry-port", "99999"], "whole number from 1 to 65535"],
    [["up", "--time-scale", "0"], "number above 0"],
    [["demo", "--seed", "x"], "whole number"],
    [["releases", "--limit", "1000"], "whole number from 1 to 100"],
    [["releases"], "LIGHTER_API"],
    [["releases", "--api", "nowhere"], "got nowhere, want a URL"],
  ])("%j exits 2 at once and says what it wants", async (args, text) => {
    const { code, stderr } = await lighter(args);
    expect(stderr).toContain(text);
    expect(stderr).not.toContain("    at ");
    expect(code).toBe(2);
  });
});

describe("a backend that `up` started", () => {
  let up: ChildProcess;
  let env: NodeJS.ProcessEnv = {};
  let facts: { api: string; key: string; registry: string; product: string; devices: readonly string[] };

  beforeAll(async () => {
    up = start(["up", "--devices", "0", "--json"]);
    const [line] = (await once(createInterface(up.stdout as NonNullable<ChildProcess["stdout"]>), "line")) as [string];
    facts = JSON.parse(line) as typeof facts;
    env = { LIGHTER_API: facts.api, LIGHTER_KEY: facts.key };
  });

  afterAll(() => void up.kill("SIGTERM"));

  test("has no release yet, and takes a baseline", async () => {
    expect(JSON.parse((await lighter(["releases", "--json"], env)).stdout)).toEqual({ releases: [] });
    const { code, stdout } = await lighter(["baseline", facts.product, "--absent", "--json"], env);
    expect(JSON.parse(stdout)).toMatchObject({ product: "app", baselines: [{ baseline: { kind: "absent" } }] });
    expect(code).toBe(0);
  });

  test.each([
    [["status", "app-0123456789ab-1"], 2, "404 read release app-0123456789ab-1: got no record"],
    [["baseline", "nothing"], 2, "want app"],
    [["baseline", "app"], 2, "404 capture baseline app on main"],
    [["releases", "--key", "wrong"], 3, "401, the key does not open it, want a function or host key"],
    [["releases", "--api", "http://127.0.0.1:1/api"], 3, "127.0.0.1:1"],
  ])("%j exits %i and says why", async (args, exit, text) => {
    const { code, stderr } = await lighter(args, env);
    expect(stderr).toContain(text);
    expect(code).toBe(exit);
  });

  test("keeps its ports to itself", async () => {
    const port = facts.registry.split(":").at(-1) as string;
    const { code, stderr } = await lighter(["up", "--registry-port", port]);
    expect(stderr).toContain(`address already in use 127.0.0.1:${port}`);
    expect(code).toBe(3);
  });

  test("ends in good order when it is told to", async () => {
    const closed = once(up, "close");
    up.kill("SIGTERM");
    expect(await closed).toEqual([0, null]);
  });
});
