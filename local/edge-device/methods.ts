// The direct methods of the edge agent: ping, GetModuleLogs and RestartModule, with the statuses the real one answers.
import { z } from "zod";
import type { ModuleRunner } from "./module-runner.ts";

/** What a direct method answers. */
export interface MethodResponse {
  readonly status: number;
  readonly payload: unknown;
}

const logsSchema = z.object({
  items: z
    .union([
      z.object({ id: z.string(), filter: filterSchema() }),
      z.array(z.object({ id: z.string(), filter: filterSchema() })),
    ])
    .transform((items) => (Array.isArray(items) ? items : [items])),
});
const restartSchema = z.object({ id: z.string() });

function filterSchema(): z.ZodOptional<z.ZodObject<{ tail: z.ZodOptional<z.ZodNumber> }>> {
  return z.object({ tail: z.number().int().positive().optional() }).optional();
}

/** Answers a direct method of `$edgeAgent`; `id` in a request is a regular expression over module names. */
export async function callMethod(runner: ModuleRunner, name: string, payload: unknown): Promise<MethodResponse> {
  switch (name.toLowerCase()) {
    case "ping":
      return { status: 200, payload: null };
    case "getmodulelogs":
      return readLogs(runner, payload);
    case "restartmodule":
      return restart(runner, payload);
    default:
      return { status: 404, payload: { message: `Unknown method ${JSON.stringify(name)}` } };
  }
}

const badRequest = (message: string): MethodResponse => ({ status: 400, payload: { message } });

function readLogs(runner: ModuleRunner, payload: unknown): MethodResponse {
  const request = logsSchema.safeParse(payload);
  if (!request.success) return badRequest(z.prettifyError(request.error));
  const found: { id: string; payload: string }[] = [];
  for (const { id, filter } of request.data.items) {
    const pattern = parsePattern(id);
    if (pattern === undefined) return badRequest(`${JSON.stringify(id)} is not a regular expression`);
    for (const module of runner.modules.keys()) {
      if (!pattern.test(module)) continue;
      const lines = runner.logs(module).split("\n");
      if (lines.at(-1) === "") lines.pop();
      found.push({ id: module, payload: lines.slice(-(filter?.tail ?? lines.length)).join("\n") });
    }
  }
  if (found.length === 0) return { status: 404, payload: { message: "No module matches" } };
  return { status: 200, payload: found };
}

async function restart(runner: ModuleRunner, payload: unknown): Promise<MethodResponse> {
  const request = restartSchema.safeParse(payload);
  if (!request.success) return badRequest(z.prettifyError(request.error));
  const { id } = request.data;
  if (!runner.modules.has(id)) return { status: 404, payload: { message: `Module ${id} not found` } };
  await runner.stop(id);
  await runner.start(id);
  return { status: 200, payload: null };
}

function parsePattern(text: string): RegExp | undefined {
  try {
    return new RegExp(`^(?:${text})$`);
  } catch {
    return undefined;
  }
}
