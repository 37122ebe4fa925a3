// Runs the registry alone: `node local/registry/main.ts --folder DIR [--port N] [--webhook URL] [--user NAME:PASSWORD]`.
import { parseArgs } from "node:util";
import { createRegistry } from "./registry.ts";

const { values } = parseArgs({
  options: {
    folder: { type: "string" },
    port: { type: "string", default: "0" },
    webhook: { type: "string", multiple: true, default: [] },
    "webhook-header": { type: "string", multiple: true, default: [] },
    user: { type: "string", multiple: true, default: [] },
    "anonymous-pull": { type: "boolean", default: false },
  },
});
if (values.folder === undefined) {
  process.stderr.write("main.ts: --folder DIR is needed: where the registry keeps its data\n");
  process.exit(2);
}

/** Splits `name:rest` at the first colon. */
function splitPair(text: string): [string, string] {
  const colon = text.indexOf(":");
  return colon < 0 ? [text, ""] : [text.slice(0, colon), text.slice(colon + 1).trim()];
}

const users = values.user.map(splitPair).map(([name, password]) => ({ name, password }));
const headers = Object.fromEntries(values["webhook-header"].map(splitPair));
const registry = await createRegistry({
  folder: values.folder,
  port: Number(values.port),
  webhooks: values.webhook.map((url, index) => ({ name: `webhook-${index}`, url, headers })),
  ...(users.length === 0
    ? {}
    : { auth: { challenge: "bearer", users, anonymousPull: values["anonymous-pull"] } as const }),
});
process.stdout.write(`${JSON.stringify({ url: registry.url, host: registry.host, folder: values.folder })}\n`);

const stop = (): void => {
  void registry.close().then(() => process.exit(0));
};
process.once("SIGINT", stop);
process.once("SIGTERM", stop);
