// HTTP triggers that registries call on a push: ACR native webhooks and Docker distribution notifications.
import { app, type HttpRequest, type InvocationContext } from "@azure/functions";
import * as df from "durable-functions";
import { getApp } from "../app.ts";
import {
  HookError,
  parseAcrWebhook,
  parseDistributionNotification,
  type ParsedHook,
} from "../core/release/hook-payloads.ts";
import { readText } from "./body.ts";
import { createStarter } from "./durable.ts";
import { respond } from "./respond.ts";

async function readJson(request: HttpRequest, subject: string): Promise<unknown> {
  const text = await readText(request);
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new HookError("HOOK_MALFORMED", { operation: "parse", subject, got: "a body that is not JSON", cause });
  }
}

function registerHook(name: string, route: string, parse: (body: unknown) => ParsedHook): void {
  app.http(name, {
    methods: ["POST"],
    route,
    authLevel: "function",
    extraInputs: [df.input.durableClient()],
    handler: respond(async (request: HttpRequest, context: InvocationContext) => {
      const { events, skipped } = parse(await readJson(request, name));
      const queue = getApp().queue(createStarter(context));
      const outcomes = [];
      for (const event of events) {
        const outcome = await queue.send(event);
        context.info(`${event.repository}:${event.tag ?? "?"} ${outcome.outcome}: ${outcome.reason}`);
        outcomes.push(outcome);
      }
      return { status: 202, body: { outcomes, skipped } };
    }),
  });
}

registerHook("acrHook", "hooks/acr", parseAcrWebhook);
registerHook("registryHook", "hooks/registry", parseDistributionNotification);
