// `lighter advise`: which build instruction churns, what it costs per push, and what would help.
import type { Command } from "commander";
import { printAdvice } from "../advice-report.ts";
import { addImageOptions, platformOf, withImageTools, type ImageOptions } from "../image-command.ts";

/** Adds the command. */
export function addAdviseCommand(program: Command): void {
  const command = program
    .command("advise")
    .description("say how IMAGE should be built so that less of it changes per push; writes nothing")
    .argument("<image>", "image as it is built today, e.g. fleet.azurecr.io/app:9")
    .argument("[earlier...]", "earlier pushes of it, to see what really changes");
  addImageOptions(command).action(async (image: string, earlier: string[], options: ImageOptions) => {
    const request = { image, earlier, ...platformOf(options) };
    const advice = await withImageTools(options, ({ advisor }) => advisor.advise(request));
    await printAdvice(advice, options.json, process.stdout);
  });
}
