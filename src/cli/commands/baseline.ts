// `lighter baseline`: records what a product's module runs today as the content that a rollback returns to.
import type { Command } from "commander";
import { addApiOptions, callApi, type ApiOptions } from "../api.ts";
import { print } from "../image-command.ts";

interface Captured {
  readonly hub: string;
  readonly anchor?: string;
  readonly baseline: { readonly kind: string; readonly from: string };
}

/** Adds the command. */
export function addBaselineCommand(program: Command): void {
  const command = program
    .command("baseline")
    .description("record what a product's module runs today on its hubs, so that releases can be rolled back")
    .argument("<product>", "a product of the configuration")
    .option("--absent", "say that the module does not exist on the devices yet");
  addApiOptions(command).action(async (product: string, options: ApiOptions & { readonly absent?: boolean }) => {
    const path = `products/${encodeURIComponent(product)}/baseline`;
    const captured = (await callApi(options, "POST", path, { absent: options.absent ?? false })) as readonly Captured[];
    await print({ product, baselines: captured }, options.json, () =>
      captured.map(({ hub, anchor, baseline }) => [
        hub,
        baseline.kind === "absent" ? "no module; a rollback stops it" : `${anchor} (from ${baseline.from})`,
      ]),
    );
  });
}
