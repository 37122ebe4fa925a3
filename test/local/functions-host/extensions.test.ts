// Triggers and outputs that are plugged into the host from outside, as queues and event streams will be.
import { afterAll, beforeAll, expect, test } from "vitest";
import { createScaledClock } from "../../../local/clock.ts";
import { createFunctionsHost } from "../../../local/functions-host/host.ts";
import type { FunctionsHost } from "../../../local/functions-host/host.ts";
import type { TriggerHost, TriggerKind } from "../../../local/functions-host/triggers/trigger.ts";
import { appsFolder } from "./host-process.ts";

const written: unknown[] = [];
const steps: string[] = [];
let lent: TriggerHost | undefined;
let host: FunctionsHost;

const memoryQueue: TriggerKind = {
  types: ["memoryqueuetrigger"],
  prepare(trigger) {
    lent = trigger;
    return {
      webhook: { name: "memoryqueue", handle: ({ response }) => void response.end("queue webhook") },
      start: () => void steps.push("started"),
      stop: async () => void steps.push("stopped"),
    };
  },
};

beforeAll(async () => {
  host = await createFunctionsHost({
    app: { folder: appsFolder, entries: ["extended.ts"] },
    storageFile: ":memory:",
    keys: { master: "master-key", system: { memoryqueue_extension: "queue-key" } },
    clock: createScaledClock({ originMs: Date.now(), scale: 1 }),
    log: () => undefined,
    triggers: [memoryQueue],
    outputs: {
      memoryQueue: async (data, binding, functionName) => void written.push([functionName, binding["queueName"], data]),
    },
  });
});
afterAll(() => host.close());

test("a plugged-in trigger is lent its functions and runs them; outputs reach their sinks", async () => {
  const [fn] = lent?.functions ?? [];
  expect(fn?.trigger).toMatchObject({ name: "message", queueName: "in" });
  if (lent === undefined || fn === undefined) throw new Error("nothing was lent");
  await lent.invoke({ fn, trigger: { string: "hello" }, triggerMetadata: { DeliveryCount: { int: 3 } } });
  expect(written).toEqual([
    ["consumer", "returned", { string: "3" }],
    ["consumer", "out", { json: '{"message":"hello","attempt":0}' }],
  ]);
  await expect(lent.invoke({ fn, trigger: { string: "fail" } })).rejects.toThrow("cannot");
});

test("its webhook is behind its own system key", async () => {
  const call = (key: string): Promise<Response> => fetch(`${host.url}/runtime/webhooks/memoryqueue/x?code=${key}`);
  expect((await call("wrong")).status).toBe(401);
  expect(await (await call("queue-key")).text()).toBe("queue webhook");
  expect((await fetch(`${host.url}/runtime/webhooks/unknown?code=master-key`)).status).toBe(404);
});

test("its functions run by hand with the given input", async () => {
  const before = written.length;
  const response = await fetch(`${host.url}/admin/functions/consumer?code=master-key`, {
    method: "POST",
    body: '{"input":"by hand"}',
  });
  expect(response.status).toBe(202);
  await expect.poll(() => written.length).toBe(before + 2);
  expect(written.at(-1)).toEqual(["consumer", "out", { json: '{"message":"by hand","attempt":0}' }]);
});

test("it starts with the host and stops with it", async () => {
  expect(steps).toEqual(["started"]);
  await host.close();
  expect(steps).toEqual(["started", "stopped"]);
});
