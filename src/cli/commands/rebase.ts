// `lighter rebase`: builds, pushes and verifies the rebased image.
import { Option, type Command } from "commander";
import { defaultTargetTag, formatReference, isTag, parseReference } from "../../core/image/reference.ts";
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

interface RebaseOptions extends ImageOptions {
  readonly tag?: string;
  readonly engine: "direct";
}

/** Adds the command. */
export function addRebaseCommand(program: Command): void {
  const command = program
    .command("rebase")
    .description("put what CANDIDATE changes onto the layers of ANCHOR, push the result and verify it")
    .argument("<anchor>", "image that devices hold, e.g. fleet.azurecr.io/app:1")
    .argument("<candidate>", "freshly built image")
    .option("--tag <tag>", "tag in the candidate's repository, or a whole reference (default: iot-<candidate tag>)")
    .addOption(new Option("--engine <engine>", "where the work is done").choices(["direct"]).default("direct"));
  addImageOptions(command).action(async (anchor: string, candidate: string, options: RebaseOptions) => {
    const request = { anchor, candidate, target: targetOf(candidate, options.tag), ...platformOf(options) };
    const summary = await withEngine(options, (engine) => engine.rebase(request));
    await print(summary, options.json, (paint) => [
      ...planRows(summary, paint),
      ["result", `${summary.result.reference}\n${paint.dim(summary.result.digest)}`],
      layerRow(summary.layers),
      verificationRow(summary.verified, paint),
    ]);
    if (summary.verified !== "exact") process.exitCode = EXIT.no;
  });
}

/** A tag stands for one in the candidate's repository; anything else must be a reference. */
function targetOf(candidate: string, tag: string | undefined): string {
  if (tag !== undefined && !isTag(tag)) return tag;
  const { registry, repository, ...rest } = parseReference(candidate);
  return formatReference({ registry, repository, tag: tag ?? defaultTargetTag({ registry, repository, ...rest }) });
}
