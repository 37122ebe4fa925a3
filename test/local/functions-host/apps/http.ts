// An app of HTTP functions: routes, auth levels, bodies, responses, hooks, logs and failures.
import { Readable } from "node:stream";
import { app } from "@azure/functions";
import type { Cookie, HttpRequest, InvocationContext } from "@azure/functions";

const params = (request: HttpRequest, name: string): { jsonBody: unknown } => ({
  jsonBody: { name, params: request.params },
});

/** Registers a GET function that answers with its own name and its parameters. */
function route(name: string, template: string): void {
  app.http(name, { route: template, methods: ["GET"], handler: (request) => params(request, name) });
}
route("literal", "items/latest");
route("number", "items/{id:int}");
route("text", "items/{id}");
route("optional", "optional/{first}/{second?}");
route("defaulted", "defaulted/{page=1}");
route("rest", "files/{*path}");
route("constrained", "users/{name:alpha:length(3,5)}/{id:guid}");
route("pattern", "codes/{code:regex(^[a-z]\\d{{2}}$)}");
route("composed", "pictures/{name}.{ext}");
app.http("noRoute", { handler: () => ({ body: "by name" }) });

app.http("anonymous", { authLevel: "anonymous", handler: () => ({ body: "anyone" }) });
app.http("guarded", { authLevel: "function", handler: () => ({ body: "keyed" }) });
app.http("administered", { authLevel: "admin", handler: () => ({ body: "master" }) });

app.http("inspect", {
  methods: ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"],
  handler: async (request) => ({
    headers: { "x-method": request.method },
    jsonBody: {
      method: request.method,
      url: request.url,
      query: Object.fromEntries(request.query),
      headers: Object.fromEntries(request.headers),
      text: await request.text(),
    },
  }),
});
app.http("bytes", {
  methods: ["POST"],
  handler: async (request) => ({ body: Buffer.from(await request.arrayBuffer()).toReversed() }),
});
app.http("json", {
  methods: ["POST"],
  handler: async (request) => ({ status: 201, jsonBody: { got: await request.json() } }),
});
app.http("form", {
  methods: ["POST"],
  handler: async (request) => {
    const form = await request.formData();
    const file = form.get("file") as unknown as Blob;
    return { jsonBody: { field: form.get("field"), file: await file.text() } };
  },
});
app.http("streamed", { handler: () => ({ body: Readable.from(["one ", "two ", "three"]) }) });
app.http("nothing", { handler: () => undefined as never });
app.http("teapot", { handler: () => ({ status: 418, body: "short and stout" }) });
app.http("cookies", {
  handler: () => {
    const cookies: Cookie[] = [
      { name: "a", value: "x y", maxAge: 60, httpOnly: true, secure: true, sameSite: "Lax" },
      { name: "b", value: "2", domain: "example.org", path: "/b", expires: new Date(Date.UTC(2030, 0, 1)) },
    ];
    return { cookies };
  },
});
app.http("failing", {
  handler: () => {
    throw new Error("secret detail");
  },
});
app.http("slow", {
  handler: async (_request, context: InvocationContext) => {
    context.log("slow has begun");
    await new Promise((resolve) => setTimeout(resolve, 200));
    return { body: "done" };
  },
});
app.http("badHeader", {
  handler: () => ({
    headers: { "x-first": "kept back", "transfer-encoding": "chunked" },
    body: "fine",
    cookies: [{ name: "a\nb", value: "", domain: "c\nd" }],
  }),
});
app.http("hops", { handler: () => ({ headers: { connection: "close", "x-kept": "yes" }, body: "fine" }) });
app.http("forever", { handler: () => new Promise<never>(() => undefined) });
app.http("blocking", {
  handler: () => {
    const end = performance.now() + 2_200;
    while (performance.now() < end);
    return {};
  },
});
app.http("logging", {
  handler: (_request, context: InvocationContext) => {
    context.trace("a trace");
    context.debug("a debug");
    context.info("an info %d", 1);
    context.log("a log", { with: "details" });
    context.warn("a warning");
    context.error("an error");
    return {};
  },
});

const events: string[] = [];
app.hook.appStart(() => void events.push("appStart"));
app.hook.appTerminate(() => void process.stderr.write('{"hook":"appTerminate"}\n'));
app.hook.preInvocation((context) => {
  if (context.invocationContext.functionName !== "hooked") return;
  context.hookData["from"] = "before";
  const { functionHandler } = context;
  context.functionHandler = (...args) => {
    events.push("wrapped");
    return functionHandler(...args);
  };
});
app.hook.postInvocation((context) => {
  if (context.invocationContext.functionName !== "hooked") return;
  events.push(
    `after ${String(context.hookData["from"])} ${context.error === null || context.error === undefined ? "fine" : "failed"}`,
  );
  context.error = undefined;
  context.result = { jsonBody: events };
});
app.hook.log((context) => {
  if (context.message === "a warning") context.level = "error";
});
app.http("hooked", {
  handler: () => {
    throw new Error("mended by a hook");
  },
});
