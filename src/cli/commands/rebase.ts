// `lighter rebase`: builds, pushes and verifies the rebased image, here or in ACR Tasks.
import { Option, type Command } from "commander";
import { defaultTargetTag, formatReference, isTag, parseReference } from "../../core/image/reference.ts";
import type { RebaseSummary, RunHandle } from "../../task-tools.ts";
import { EXIT } from "../exit.ts";
import {
  addImageOptions,
  layerRow,
  planRows,
  platformOf,
  print,
  verificationRow,
  withEngine,
  type ImageOptions,
} from "../image-command.ts";
import { followRebase, type FollowedRebase } from "../run-rebase.ts";
import { addTaskOptions, runSettingsOf, taskSettingsOf, type TaskOptions } from "../task-options.ts";

interface RebaseOptions extends ImageOptions, TaskOptions {
  readonly tag?: string;
  readonly engine: "direct" | "acr-tasks";
  readonly runner: RunHandle["runner"];
  readonly lighterImage?: string;
  readonly task?: string;
}

/** Adds the command. */
export function addRebaseCommand(program: Command): void {
  const command = program
    .command("rebase")
    .description("put what CANDIDATE changes onto the layers of ANCHOR, push the result and verify it")
    .argument("<anchor>", "image that devices hold, e.g. fleet.azurecr.io/app:1")
    .argument("<candidate>", "freshly built image")
    .option("--tag <tag>", "tag in the candidate's repository, or a whole reference (default: iot-<candidate tag>)")
    .addOption(
      new Option("--engine <engine>", "where the work is done").choices(["direct", "acr-tasks"]).default("direct"),
    )
    .addOption(
      new Option("--runner <runner>", "what ACR Tasks run: Lighter's image, or a generated Dockerfile")
        .choices(["cmd", "build"])
        .default("cmd"),
    )
    .option("--lighter-image <image>", "Lighter's image for the runner cmd (default: lighter:latest)")
    .option("--task <name>", "a task made by `lighter bootstrap --task` to be run instead");
  addImageOptions(addTaskOptions(command)).action(async (anchor: string, candidate: string, options: RebaseOptions) => {
    const request = { anchor, candidate, target: targetOf(candidate, options.tag), ...platformOf(options) };
    const summary =
      options.engine === "direct"
        ? await withEngine(options, (engine) => engine.rebase(request))
        : await rebaseInTasks(request, options);
    await print(summary, options.json, (paint) => [
      ...planRows(summary, paint),
      ["result", `${summary.result.reference}\n${paint.dim(summary.result.digest)}`],
      layerRow(summary.layers),
      verificationRow(summary.verified, paint),
    ]);
    if (summary.verified !== "exact") process.exitCode = EXIT.no;
  });
}

async function rebaseInTasks(request: FollowedRebase, options: RebaseOptions): Promise<RebaseSummary> {
  const { createTaskTools } = await import("../../task-tools.ts");
  const tools = createTaskTools({
    settings: taskSettingsOf(options),
    runner: options.runner,
    run: runSettingsOf(options),
    ...(options.lighterImage === undefined ? {} : { image: options.lighterImage }),
    ...(options.task === undefined ? {} : { task: options.task }),
    ...(options.cache === undefined ? {} : { indexCache: options.cache }),
  });
  try {
    return await followRebase(tools, request, (text) => process.stderr.write(`${text}\n`));
  } finally {
    await tools.close();
  }
}

/** A tag stands for one in the candidate's repository; anything else must be a reference. */
function targetOf(candidate: string, tag: string | undefined): string {
  if (tag !== undefined && !isTag(tag)) return tag;
  const { registry, repository, ...rest } = parseReference(candidate);
  return formatReference({ registry, repository, tag: tag ?? defaultTargetTag({ registry, repository, ...rest }) });
}
