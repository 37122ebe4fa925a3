// `lighter plan`: compares two images and says what a rebase would ship, changing nothing.
import type { Command } from "commander";
import { addImageOptions, planRows, platformOf, print, withEngine, type ImageOptions } from "../image-command.ts";

/** Adds the command. */
export function addPlanCommand(program: Command): void {
  const command = program
    .command("plan")
    .description("say what would be shipped to devices that hold ANCHOR so that they run CANDIDATE")
    .argument("<anchor>", "image that devices hold, e.g. fleet.azurecr.io/app:1")
    .argument("<candidate>", "freshly built image");
  addImageOptions(command).action(async (anchor: string, candidate: string, options: ImageOptions) => {
    const plan = await withEngine(options, (engine) => engine.plan({ anchor, candidate, ...platformOf(options) }));
    await print(plan, options.json, (paint) => planRows(plan, paint));
  });
}
