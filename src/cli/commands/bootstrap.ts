// `lighter bootstrap`: builds Lighter's own image into a registry, so that ACR Tasks can run it there.
import type { Command } from "commander";
import { EXIT } from "../exit.ts";
import { print } from "../image-command.ts";
import { addTaskOptions, runSettingsOf, taskSettingsOf, type TaskOptions } from "../task-options.ts";

interface BootstrapOptions extends TaskOptions {
  readonly image: string;
  readonly nodeImage?: string;
  readonly task?: string;
  readonly location?: string;
  readonly json?: boolean;
}

/** Adds the command. */
export function addBootstrapCommand(program: Command): void {
  const command = program
    .command("bootstrap")
    .description("build Lighter's image in your registry by ACR Tasks, for rebases that run beside it")
    .option("--image <repository:tag>", "what it is called there", "lighter:latest")
    .option("--node-image <image>", "Node's image, if it must not come from Docker Hub")
    .option("--task <name>", "create a task for network-restricted registries, which runs as its own identity")
    .option("--location <region>", "where the task is, e.g. westeurope (with --task)");
  addTaskOptions(command)
    .option("--json", "print one JSON object")
    .action(async (options: BootstrapOptions) => {
      if (options.task !== undefined && options.location === undefined)
        command.error("error: --task needs --location", { exitCode: EXIT.usage });
      const { createTaskTools } = await import("../../task-tools.ts");
      const tools = createTaskTools({ settings: taskSettingsOf(options), run: runSettingsOf(options) });
      try {
        const built = await tools.buildLighter(options.image, options.nodeImage, (text) => process.stderr.write(text));
        const isBuilt = built.state.state === "succeeded";
        const task =
          isBuilt && options.task !== undefined && options.location !== undefined
            ? await tools.createTask(options.task, options.location)
            : undefined;
        const { runId, digest, state } = built;
        const reason = state.state === "failed" ? state.reason : undefined;
        const result = { image: options.image, digest, runId, state: state.state, reason, task };
        await print(result, options.json, (paint) => [
          ["image", `${options.image}${digest === undefined ? "" : `\n${paint.dim(digest)}`}`],
          ["run", `${runId}: ${isBuilt ? paint.green("succeeded") : paint.red(reason ?? "failed")}`],
          ...(task === undefined
            ? []
            : ([["task", `${task.id}\nlet its identity ${task.principalId ?? ""} push`]] as const)),
        ]);
        if (!isBuilt) process.exitCode = EXIT.failed;
      } finally {
        await tools.close();
      }
    });
}
