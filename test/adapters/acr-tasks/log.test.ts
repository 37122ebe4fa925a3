// The log protocol: a blob that is not there yet, grows, is completed late, or never appears.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { readLog, shortenLog, tryReadLog } from "../../../src/adapters/acr-tasks/log.ts";
import {
  startScriptedService,
  type ScriptedService,
  type SeenRequest,
  type ScriptedAnswer,
} from "./scripted-service.ts";

let service: ScriptedService;
let content = Buffer.alloc(0);
let isThere = true;
let isComplete = false;
let linkStatus = 200;

/** Storage as far as a log needs it: HEAD, ranges, metadata. */
const serveLog = ({ method, path, headers }: SeenRequest): ScriptedAnswer => {
  if (path.includes("/listLogSasUrl"))
    return { status: linkStatus, json: { logLink: `${service.url}/logs/cf1?sig=secret` } };
  if (!isThere) return { status: 404 };
  const metadata = isComplete ? { "x-ms-meta-complete": "successful" } : {};
  if (method === "HEAD") return { status: 200, headers: { ...metadata, "content-length": String(content.length) } };
  const [, from = "", to = ""] = /bytes=(\d+)-(\d+)/.exec(String(headers["x-ms-range"])) ?? [];
  if (Number(from) >= content.length) return { status: 416 };
  return { status: 206, text: content.subarray(Number(from), Number(to) + 1).toString(), headers: metadata };
};

beforeAll(async () => {
  service = await startScriptedService();
});
afterAll(async () => service.close());
beforeEach(() => {
  service.answer(serveLog);
  service.seen.length = 0;
  content = Buffer.from("one\ntwo\n");
  [isThere, isComplete, linkStatus] = [true, false, 200];
});

describe("a log", () => {
  test("is read in ranges as it grows, until it says that it is complete", async () => {
    const client = service.connect();
    const first = await readLog(client, "cf1", 0);
    expect(first).toEqual({ text: "one\ntwo\n", end: 8, complete: false });
    expect(await readLog(client, "cf1", first.end)).toEqual({ text: "", end: 8, complete: false });
    content = Buffer.from("one\ntwo\nthree ü\n");
    const next = await readLog(client, "cf1", first.end);
    expect(next).toEqual({ text: "three ü\n", end: 17, complete: false });
    isComplete = true;
    expect(await readLog(client, "cf1", next.end)).toEqual({ text: "", end: 17, complete: true });
    const tokens = service.seen
      .filter(({ path }) => path.startsWith("/logs"))
      .map(({ headers }) => headers.authorization);
    expect(new Set(tokens)).toEqual(new Set([undefined]));
  });

  test("is read from its end", async () => {
    expect((await readLog(service.connect(), "cf1", -4)).text).toBe("two\n");
    expect((await readLog(service.connect(), "cf1", -100)).text).toBe("one\ntwo\n");
  });

  test("that is empty has no part", async () => {
    content = Buffer.alloc(0);
    expect(await readLog(service.connect(), "cf1", -100)).toEqual({ text: "", end: 0, complete: false });
  });

  test("that is missing is LOG_MISSING, or nothing to those who can do without", async () => {
    isThere = false;
    await expect(readLog(service.connect(), "cf1", 0)).rejects.toMatchObject({ code: "LOG_MISSING" });
    expect(await tryReadLog(service.connect(), "cf1", 0)).toBeUndefined();
    linkStatus = 404;
    expect(await tryReadLog(service.connect(), "cf1", 0)).toBeUndefined();
  });

  test("whose service is down is an error to everyone", async () => {
    linkStatus = 503;
    await expect(tryReadLog(service.connect(), "cf1", 0)).rejects.toMatchObject({ code: "UNREACHABLE" });
  });
});

describe("the tail of a log", () => {
  test("has at most twenty lines and 2,000 characters", () => {
    const lines = Array.from({ length: 50 }, (_, index) => `line ${index}`);
    expect(shortenLog(`${lines.join("\r\n")}\n\n`)).toBe(lines.slice(30).join("\n"));
    expect(shortenLog("x".repeat(5_000))).toHaveLength(2_000);
  });

  test("has no escape sequences or control characters", () => {
    expect(shortenLog("\u001B[31mred\u001B[0m\u0007 \tbell\u0000\rnext")).toBe("red \tbell\nnext");
  });
});
