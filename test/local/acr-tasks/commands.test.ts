// Steps that run programs: what they get, what they leave in the log, how they end.
import { expect, test } from "vitest";
import { readLog, schedule, taskRequest, useGround, waitFor } from "./support.ts";

const ground = useGround();

/** Prints its arguments, folder and environment. */
const SHOW = `console.log(JSON.stringify({ args: process.argv.slice(1), env: process.env }))`;
const COMMANDS = {
  show: [process.execPath, "-e", SHOW, "--"],
  fail: [process.execPath, "-e", "console.error('broken'); process.exitCode = 7"],
} as const satisfies Record<string, readonly [string, ...string[]]>;

test("a program gets its words, its environment and nothing of ours", async () => {
  process.env["LIGHTER_TEST_SECRET"] = "do not tell";
  const service = await ground().start({ commands: COMMANDS });
  const yaml = `
version: v1.0.0
steps:
  - cmd: '{{.Run.Registry}}/show:2 rebase "two words" {{.Values.tag}} --run {{.Run.ID}}'
    env: ["MODE='a b'"]
`;
  const runId = await schedule(service, taskRequest(yaml, { values: [{ name: "tag", value: "v7" }] }));
  const run = await waitFor(service, runId);
  const { text, outcome } = await readLog(service, runId);
  expect(text).toContain('"rebase"');
  expect([run.properties.status, outcome]).toEqual(["Succeeded", "successful"]);
  const line = text.split("\n").find((each) => each.startsWith('{"args"')) ?? "";
  const { args, env } = JSON.parse(line) as { args: string[]; env: Record<string, string> };
  expect(args).toEqual(["rebase", "two words", "v7", "--run", runId]);
  expect(Object.keys(env).sort()).toEqual(["HOME", "MODE", "PATH"]);
  expect(env["MODE"]).toBe("a b");
  delete process.env["LIGHTER_TEST_SECRET"];
});

test("a program that ends with other than 0 fails the run", async () => {
  const service = await ground().start({ commands: COMMANDS });
  const runId = await schedule(service, taskRequest("steps: [{cmd: $Registry/fail}, {cmd: $Registry/show}]"));
  const { properties } = await waitFor(service, runId);
  const { text, outcome } = await readLog(service, runId);
  expect(properties).toMatchObject({ status: "Failed", provisioningState: "Failed" });
  expect(text).toMatch(/broken\n[^]*exit status 7/);
  expect(text).not.toContain('{"args"');
  expect(outcome).toBe("failed");
});
