// Schedules, time spans and retry delays as pure values.
import { expect, test } from "vitest";
import { isExpired, retryDelayMs } from "../../../local/functions-host/durable/retry.ts";
import { functionRetryDelayMs } from "../../../local/functions-host/function-retry.ts";
import { parseHostJson, parseTimeSpan } from "../../../local/functions-host/host-json.ts";
import { parseSchedule } from "../../../local/functions-host/schedule.ts";

const from = Date.UTC(2026, 10, 20, 12, 0, 0);
const next = (text: string, timezone = "UTC"): string =>
  new Date(parseSchedule(text, timezone, "fn").next(from)).toISOString();

test.each([
  ["0 */5 * * * *", "2026-11-20T12:05:00.000Z"],
  ["*/10 * * * * *", "2026-11-20T12:00:10.000Z"],
  ["30 0 0 1 Jan *", "2027-01-01T00:00:30.000Z"],
  ["0 0 9-17 * * MON-FRI", "2026-11-20T13:00:00.000Z"],
  ["0 30 9 * * 1,3", "2026-11-23T09:30:00.000Z"],
  ["*/15 * * * *", "2026-11-20T12:15:00.000Z"],
  ["00:00:45", "2026-11-20T12:00:45.000Z"],
  ["1.00:00:00", "2026-11-21T12:00:00.000Z"],
])("%s next fires at %s", (text, expected) => {
  expect(next(text)).toBe(expected);
});

test("day and day of week must both match", () => {
  expect(next("0 0 0 13 * FRI")).toBe("2027-08-13T00:00:00.000Z");
});

test("a time zone moves wall-clock schedules", () => {
  expect(next("0 0 6 * * *", "Asia/Tokyo")).toBe("2026-11-20T21:00:00.000Z");
});

test.each([
  "",
  "every minute",
  "* * * *",
  "0 0 0 L * *",
  "0 61 * * * *",
  "0 0 0 31 2 *",
  "0 0 0 ? * MON#1",
  "00:00:00",
])("%j is refused", (text) => {
  expect(() => next(text)).toThrow(expect.objectContaining({ code: "BAD_SCHEDULE" }));
});

test.each([
  ["00:00:01", 1_000],
  ["6.00:00:00", 518_400_000],
  ["01:02:03.5", 3_723_500],
  ["00:05", 300_000],
  ["abc", undefined],
])("the time span %s is %s ms", (text, ms) => {
  expect(parseTimeSpan(text)).toBe(ms);
});

test("retry delays double up to their maximum and end at their timeout", () => {
  const policy = {
    firstRetryIntervalInMilliseconds: 100,
    maxNumberOfAttempts: 9,
    backoffCoefficient: 2,
    maxRetryIntervalInMilliseconds: 500,
  };
  expect([1, 2, 3, 4].map((failures) => retryDelayMs(policy, failures))).toEqual([100, 200, 400, 500]);
  expect(isExpired(policy, 0, 1e12)).toBe(false);
  expect([999, 1_000].map((now) => isExpired({ ...policy, retryTimeoutInMilliseconds: 1_000 }, 0, now))).toEqual([
    false,
    true,
  ]);
});

test("function retries wait a fixed or a growing time", () => {
  const seconds = (value: number): { seconds: number } => ({ seconds: value });
  const fixed = { maxRetryCount: 3, retryStrategy: "fixedDelay", delayInterval: seconds(7) } as const;
  const growing = {
    maxRetryCount: 9,
    retryStrategy: "exponentialBackoff",
    minimumInterval: seconds(2),
    maximumInterval: seconds(10),
  } as const;
  expect([1, 2].map((retry) => functionRetryDelayMs(fixed, retry))).toEqual([7_000, 7_000]);
  expect([1, 2, 3, 4].map((retry) => functionRetryDelayMs(growing, retry))).toEqual([2_000, 4_000, 8_000, 10_000]);
});

test("host.json gets its defaults, keeps unknown keys and names what is wrong", () => {
  expect(parseHostJson(undefined).extensions.http.routePrefix).toBe("api");
  const kept = parseHostJson({ version: "2.0", extensions: { eventHubs: { maxEventBatchSize: 5 } } });
  expect(kept.extensions["eventHubs"]).toEqual({ maxEventBatchSize: 5 });
  const bad = { extensions: { durableTask: { maxConcurrentActivityFunctions: 0 } } };
  expect(() => parseHostJson(bad)).toThrow(/extensions\.durableTask\.maxConcurrentActivityFunctions/);
  expect(() => parseHostJson({ version: "1.0" })).toThrow(expect.objectContaining({ code: "BAD_HOST_JSON" }));
});
