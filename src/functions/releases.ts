// HTTP triggers by which operations see and steer releases.
import { app, type HttpRequest } from "@azure/functions";
import * as df from "durable-functions";
import { z } from "zod";
import { getApp } from "../app.ts";
import { LighterError } from "../core/errors.ts";
import type { CommandKind } from "../core/release/commands.ts";
import { isReleaseId } from "../core/release/intake.ts";
import type { TriggerEvent } from "../core/release/trigger-event.ts";
import { parseReference } from "../core/image/reference.ts";
import { readText } from "./body.ts";
import { createStarter, wakeRelease } from "./durable.ts";
import { respond } from "./respond.ts";

const DEFAULT_PAGE = 20;
const MAX_PAGE = 100;

const manualSchema = z.strictObject({
  image: z.string().min(1).describe("registry/repository:tag[@digest]"),
  rerun: z.boolean().default(false),
});
const reasonSchema = z.strictObject({ reason: z.string().max(1_000).optional() });
const baselineSchema = z.strictObject({ absent: z.boolean().default(false) });

/** Reads a JSON body; an empty one counts as `{}`. */
async function readBody<T>(request: HttpRequest, schema: z.ZodType<T>): Promise<T> {
  const text = await readText(request);
  const refuse = (got: string): never => {
    throw new LighterError("REQUEST_MALFORMED", {
      operation: "read request",
      subject: new URL(request.url).pathname,
      got,
    });
  };
  let value: unknown;
  try {
    value = text.trim() === "" ? {} : JSON.parse(text);
  } catch {
    return refuse("a body that is not JSON");
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  return refuse(result.error.issues.map((issue) => `${issue.path.join(".") || "(root)"}: ${issue.message}`).join("; "));
}

function readLimit(request: HttpRequest): number {
  const text = request.query.get("limit");
  const limit = text === null ? DEFAULT_PAGE : Number(text);
  if (Number.isInteger(limit) && limit >= 1 && limit <= MAX_PAGE) return limit;
  throw new LighterError("REQUEST_MALFORMED", {
    operation: "read request",
    subject: "limit",
    got: String(text),
    want: `a whole number from 1 to ${MAX_PAGE}`,
  });
}

/** The release that the route names; what could not be the name of one is not looked up. */
function readReleaseId(request: HttpRequest): string {
  const id = request.params["id"] ?? "";
  if (isReleaseId(id)) return id;
  throw new LighterError("RELEASE_UNKNOWN", { operation: "read release", subject: id, got: "no name of a release" });
}

app.http("listReleases", {
  methods: ["GET"],
  route: "releases",
  authLevel: "function",
  handler: respond(async (request) => {
    const continuation = request.query.get("continuation");
    const page = await getApp().operations.list({
      limit: readLimit(request),
      ...(continuation === null ? {} : { continuation }),
    });
    return { status: 200, body: page };
  }),
});

app.http("openRelease", {
  methods: ["POST"],
  route: "releases",
  authLevel: "function",
  extraInputs: [df.input.durableClient()],
  handler: respond(async (request, context) => {
    const { image, rerun } = await readBody(request, manualSchema);
    const { registry, repository, tag, digest } = parseReference(image);
    const event: TriggerEvent = {
      source: "manual",
      eventId: context.invocationId,
      registry,
      repository,
      ...(tag === undefined ? {} : { tag }),
      ...(digest === undefined ? {} : { digest }),
      rerun,
    };
    const outcome = await getApp().queue(createStarter(context)).send(event);
    return { status: outcome.releaseId === undefined ? 200 : 202, body: outcome };
  }),
});

app.http("showRelease", {
  methods: ["GET"],
  route: "releases/{id}",
  authLevel: "function",
  handler: respond(async (request) => ({
    status: 200,
    body: await getApp().operations.view(readReleaseId(request)),
  })),
});

function registerCommand(kind: CommandKind): void {
  app.http(`${kind}Release`, {
    methods: ["POST"],
    route: `releases/{id}/${kind}`,
    authLevel: "function",
    extraInputs: [df.input.durableClient()],
    handler: respond(async (request, context) => {
      const { reason } = await readBody(request, reasonSchema);
      const record = await getApp().operations.command(readReleaseId(request), kind, reason, getApp().now());
      await wakeRelease(context, record);
      return { status: 202, body: { id: record.id, command: kind } };
    }),
  });
}

registerCommand("approve");
registerCommand("reject");
registerCommand("abort");
registerCommand("rollback");

app.http("captureBaseline", {
  methods: ["POST"],
  route: "products/{product}/baseline",
  authLevel: "function",
  handler: respond(async (request) => {
    const { absent } = await readBody(request, baselineSchema);
    return { status: 200, body: await getApp().operations.captureBaseline(request.params["product"] ?? "", absent) };
  }),
});
