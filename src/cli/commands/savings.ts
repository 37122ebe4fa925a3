// `lighter savings`: what past pushes of a repository cost devices, and what they would have cost rebased.
import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { priceSavings } from "../../core/cost/savings.ts";
import { parseTariff, TariffError } from "../../core/cost/tariff-schema.ts";
import type { Tariff } from "../../core/cost/tariff.ts";
import { wholeNumber } from "../arguments.ts";
import { EXIT } from "../exit.ts";
import { addImageOptions, platformOf, withImageTools, type ImageOptions } from "../image-command.ts";
import { printSavings, type SavingsReport } from "../savings-report.ts";

interface SavingsOptions extends ImageOptions {
  readonly last: number;
  readonly devices: number;
  readonly tariff: string;
  readonly tags?: string;
}

/** Adds the command. */
export function addSavingsCommand(program: Command): void {
  const command = program
    .command("savings")
    .description("say what past pushes cost devices, and what they would have cost rebased; writes nothing")
    .argument("<repository>", "repository on any registry, e.g. fleet.azurecr.io/app")
    .option("--last <n>", "how many pushes, the newest ones", wholeNumber(1), 10)
    .option("--devices <n>", "how many devices pull each push", wholeNumber(1), 1000)
    .option("--tariff <price>", "price per GB, or a JSON file with a tariff", "24")
    .option("--tags <pattern>", "only tags like this, e.g. 'v2.*'");
  addImageOptions(command).action(async (repository: string, options: SavingsOptions) => {
    const { last, devices, tags } = options;
    const tariff = await readTariff(options.tariff);
    const request = { repository, last, ...platformOf(options), ...(tags === undefined ? {} : { tags }) };
    const { pushes, ...history } = await withImageTools(options, (tools) => tools.history.measurePushes(request));
    const prices = priceSavings(
      pushes.map(({ bytes }) => bytes),
      devices,
      tariff,
    );
    const report: SavingsReport = {
      ...history,
      devices,
      tariff,
      pushes: pushes.map((push, at) => ({ ...push, money: prices.pushes[at] as (typeof prices.pushes)[number] })),
      total: prices.total,
    };
    await printSavings(report, options.json, process.stdout);
    if (pushes.length === 0) process.exitCode = EXIT.no;
  });
}

/** @throws TariffError TARIFF_INVALID */
async function readTariff(text: string): Promise<Tariff> {
  if (/^[\d.]+$/.test(text)) return parseTariff(text);
  const content = await readFile(text, "utf8").catch((cause: unknown) => {
    const got = cause instanceof Error ? cause.message : String(cause);
    const want = "a price per GB or a file";
    throw new TariffError("TARIFF_INVALID", { operation: "read tariff", subject: text, got, want, cause });
  });
  return parseTariff(content);
}
