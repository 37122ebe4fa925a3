// An entry file beside the app's own that writes down every orchestrator turn: what the host handed in and got back.
import { appendFileSync } from "node:fs";
import { app } from "@azure/functions";

const LABEL = "\n\n$OutOfProcData$:";
const file = process.env["LIGHTER_RECORD"] ?? "";

app.hook.postInvocation(({ inputs, result, error, invocationContext }) => {
  const turn = inputs[0] as { history?: unknown; instanceId?: string } | undefined;
  if (!Array.isArray(turn?.history)) return;
  const thrown = error instanceof Error ? error.message : "";
  const at = thrown.indexOf(LABEL);
  const state: unknown = at === -1 ? result : JSON.parse(thrown.slice(at + LABEL.length));
  const { functionName } = invocationContext as { functionName: string };
  appendFileSync(file, `${JSON.stringify({ name: functionName, turn, state })}\n`);
});
