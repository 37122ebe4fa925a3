// `lighter verify`: proves that an image equals another in content and config.
import type { Command } from "commander";
import { EXIT } from "../exit.ts";
import {
  addImageOptions,
  platformOf,
  print,
  verificationRow,
  withEngine,
  type ImageOptions,
} from "../image-command.ts";

interface VerifyOptions extends ImageOptions {
  readonly anchor?: string;
}

/** Adds the command. */
export function addVerifyCommand(program: Command): void {
  const command = program
    .command("verify")
    .description("prove that RESULT equals CANDIDATE in content and config; exit code 1 if it does not")
    .argument("<result>", "rebased image, e.g. fleet.azurecr.io/app:iot-2")
    .argument("<candidate>", "image it was made from")
    .option("--anchor <image>", "also prove that the layers of this image are the first of RESULT");
  addImageOptions(command).action(async (result: string, candidate: string, options: VerifyOptions) => {
    const anchor = options.anchor === undefined ? {} : { anchor: options.anchor };
    const request = { result, candidate, ...anchor, ...platformOf(options) };
    const summary = await withEngine(options, (engine) => engine.verify(request));
    await print(summary, options.json, (paint) => [
      ["result", `${summary.result.reference}\n${paint.dim(summary.result.digest)}`],
      ["candidate", `${summary.candidate.reference}\n${paint.dim(summary.candidate.digest)}`],
      verificationRow(summary.verified, paint),
    ]);
    if (summary.verified !== "exact") process.exitCode = EXIT.no;
  });
}
