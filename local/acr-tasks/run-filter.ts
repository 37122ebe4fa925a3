// The `$filter` of the list of runs: comparisons of a run's fields, joined by `and`.
import { ArmError } from "./arm-error.ts";
import type { RunRecord } from "./run-record.ts";

type Value = string | number | boolean | undefined;

const FIELDS: Readonly<Record<string, (run: RunRecord) => Value>> = {
  RunId: ({ runId }) => runId,
  RunType: ({ request }) => (request.type === "DockerBuildRequest" ? "QuickBuild" : "QuickRun"),
  Status: ({ status }) => status,
  CreateTime: ({ createTime }) => createTime,
  FinishTime: ({ finishTime }) => finishTime,
  IsArchiveEnabled: ({ isArchiveEnabled }) => isArchiveEnabled,
  TaskName: ({ taskName }) => taskName,
  AgentPoolName: ({ request }) => request.agentPoolName ?? undefined,
};
const CLAUSE = /^\s*(\w+)\s+(eq|ne|gt|ge|lt|le)\s+(?:'((?:[^']|'')*)'|(\S+?))\s*(?:\s+and\b|$)/i;
const MAX_LENGTH = 4_096;

/** Reads a filter, e.g. `Status eq 'Failed' and CreateTime ge 2026-01-01T00:00:00Z`. @throws ArmError InvalidFilter */
export function parseRunFilter(text: string): (run: RunRecord) => boolean {
  const tests: ((run: RunRecord) => boolean)[] = [];
  let rest = text.slice(0, MAX_LENGTH);
  while (rest.trim() !== "") {
    const match = CLAUSE.exec(rest);
    const [whole = "", field = "", operator = "", quoted, bare = ""] = match ?? [];
    const read = Object.entries(FIELDS).find(([name]) => name.toLowerCase() === field.toLowerCase())?.[1];
    if (match === null || read === undefined) {
      throw new ArmError(400, "InvalidFilter", `The filter '${text.slice(0, 200)}' cannot be read.`, {
        target: "$filter",
      });
    }
    rest = rest.slice(whole.length);
    const wanted = quoted?.replaceAll("''", "'") ?? bare;
    tests.push((run) => compare(read(run), wanted, operator.toLowerCase()));
  }
  return (run) => tests.every((test) => test(run));
}

function compare(value: Value, text: string, operator: string): boolean {
  if (value === undefined) return operator === "ne";
  const wanted =
    typeof value === "number" ? Date.parse(text) : typeof value === "boolean" ? text.toLowerCase() === "true" : text;
  switch (operator) {
    case "eq":
      return value === wanted;
    case "ne":
      return value !== wanted;
    case "gt":
      return value > wanted;
    case "ge":
      return value >= wanted;
    case "lt":
      return value < wanted;
    default:
      return value <= wanted;
  }
}
