// HTTP functions that drive the orchestrations beside them: a durable client by request, and activities held at a gate.
import { app } from "@azure/functions";
import type { HttpRequest, HttpResponseInit, InvocationContext } from "@azure/functions";
import * as df from "durable-functions";
import type { DurableClient } from "durable-functions";

const gates = new Map<string, () => void>();
df.app.activity("gate", { handler: (name: string) => new Promise<void>((resolve) => gates.set(name, resolve)) });

/** Registers an HTTP function that hands a durable client to its handler. */
function clientRoute(
  route: string,
  handle: (request: HttpRequest, client: DurableClient) => Promise<HttpResponseInit>,
): void {
  df.app.client.http(route.replaceAll(/\W/g, ""), {
    route,
    methods: ["POST"],
    authLevel: "anonymous",
    handler: (request: HttpRequest, client: DurableClient) => handle(request, client),
  });
}

app.http("openGate", {
  route: "gates/{name}",
  methods: ["POST"],
  handler: (request: HttpRequest) => {
    const open = gates.get(request.params["name"] ?? "");
    open?.();
    return { status: open === undefined ? 404 : 204 };
  },
});

app.http("start", {
  route: "start/{name}",
  methods: ["POST"],
  extraInputs: [df.input.durableClient()],
  handler: async (request: HttpRequest, context: InvocationContext) => {
    const client = df.getClient(context);
    const text = await request.text();
    const id = await client.startNew(
      request.params["name"] ?? "",
      text === "" ? {} : { input: JSON.parse(text) as unknown },
    );
    const wait = Number(request.query.get("wait") ?? 20_000);
    const options = { timeoutInMilliseconds: wait, retryIntervalInMilliseconds: Math.min(10, wait) };
    return client.waitForCompletionOrCreateCheckStatusResponse(request, id, options);
  },
});

type Call = [name: string, ...args: unknown[]];

/** Runs a list of client calls `[name, …args]` and answers with what each returned, or its error's message. */
clientRoute("client", async (request, client) => {
  const results: unknown[] = [];
  for (const [name, ...args] of (await request.json()) as Call[]) {
    const revived = args.map(revive);
    try {
      const call = client[name as keyof DurableClient] as unknown as (...values: unknown[]) => unknown;
      results.push((await call.apply(client, revived)) ?? null);
    } catch (error) {
      results.push({ error: (error as Error).message });
    }
  }
  return { jsonBody: results };
});

/** Turns `{entity: [name, key]}` into an entity id and `{…: {date}}` into dates, which JSON cannot carry. */
function revive(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if ("entity" in value) return new df.EntityId(...(value.entity as [string, string]));
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key,
      key.startsWith("createdTime") ? new Date(item as string) : (item as unknown),
    ]),
  );
}
