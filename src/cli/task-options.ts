// The options of the commands that use ACR Tasks.
import { InvalidArgumentError, Option, type Command } from "commander";
import type { RunSettings, TaskSettings } from "../task-tools.ts";

/** Where ACR Tasks are and how runs are carried out. */
export interface TaskOptions {
  readonly subscription?: string;
  readonly resourceGroup?: string;
  readonly registryName?: string;
  readonly agentPool?: string;
  readonly timeout?: number;
  readonly sourceIdentity?: string;
}

/** Adds those options. */
export function addTaskOptions(command: Command): Command {
  return command
    .option("--subscription <id>", "of the registry (default: $ACR_TASKS_SUBSCRIPTION_ID)")
    .option("--resource-group <name>", "of the registry (default: $ACR_TASKS_RESOURCE_GROUP)")
    .option("--registry-name <name>", "the registry in Azure (default: $ACR_TASKS_REGISTRY)")
    .option("--agent-pool <name>", "agents of your own instead of the shared ones")
    .addOption(new Option("--timeout <seconds>", "the most a run may take, 300 to 28800").argParser(parseSeconds))
    .option("--source-identity <id>", "who logs in to an ABAC registry: [system], [caller] or a client id");
}

/** The settings of the environment with those of the options on top. */
export function taskSettingsOf(options: TaskOptions): TaskSettings {
  const { subscription, resourceGroup, registryName } = options;
  return {
    ...process.env,
    ...(subscription === undefined ? {} : { ACR_TASKS_SUBSCRIPTION_ID: subscription }),
    ...(resourceGroup === undefined ? {} : { ACR_TASKS_RESOURCE_GROUP: resourceGroup }),
    ...(registryName === undefined ? {} : { ACR_TASKS_REGISTRY: registryName }),
  };
}

/** How runs are carried out. */
export function runSettingsOf({ agentPool, timeout, sourceIdentity }: TaskOptions): RunSettings {
  return {
    ...(agentPool === undefined ? {} : { agentPool }),
    ...(timeout === undefined ? {} : { timeoutSeconds: timeout }),
    ...(sourceIdentity === undefined ? {} : { sourceIdentity }),
  };
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (Number.isInteger(seconds) && seconds >= 300 && seconds <= 28_800) return seconds;
  throw new InvalidArgumentError("It must be 300 to 28800.");
}
