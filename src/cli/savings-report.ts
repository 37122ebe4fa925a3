// Prints what pushes cost and would have cost: a table for people, one JSON object for programs.
import type { Savings, TransferCost } from "../core/cost/savings.ts";
import type { Money, Tariff } from "../core/cost/tariff.ts";
import type { HistorySummary, MeasuredPush } from "../image-tools.ts";
import { describePackages, formatBytes } from "./format.ts";
import { createPaint } from "./paint.ts";

/** All that `lighter savings` found; with `--json` this is printed as it is. */
export interface SavingsReport extends Omit<HistorySummary, "pushes"> {
  readonly devices: number;
  readonly tariff: Tariff;
  readonly pushes: readonly (MeasuredPush & { readonly money: TransferCost })[];
  readonly total: Savings["total"];
}

/** How many packages are named per push. */
const MAX_PACKAGES = 3;

/** Writes the report to `stream`. */
export async function printSavings(
  report: SavingsReport,
  json: boolean | undefined,
  stream: NodeJS.WriteStream,
): Promise<void> {
  if (json === true) {
    stream.write(`${JSON.stringify(report)}\n`);
    return;
  }
  const { default: Table } = await import("cli-table3");
  const paint = createPaint(stream);
  const { start, pushes, total, devices, skipped } = report;
  const fleet = `${devices.toLocaleString("en-US")} ${devices === 1 ? "device" : "devices"}`;
  const tags = pushes.length === 1 ? "push" : "pushes";
  if (start === null || pushes.length === 0)
    stream.write(`${report.repository}: nothing to compare; it takes two images of one platform\n`);
  else {
    const table = new Table({
      head: ["push", "pulled", "rebased", `${fleet} paid`, "rebased", "why"].map(paint.bold),
      style: { head: [], border: paint.isColorSupported ? ["gray"] : [] },
      colAligns: ["left", "right", "right", "right", "right", "left"],
      colWidths: [null, null, null, null, null, whyWidth(stream)],
      wordWrap: true,
    });
    table.push([`${start.tag}\n${paint.dim(day(start.created))}`, "", "", "", "", "what devices hold at first"]);
    for (const push of pushes)
      table.push([
        `${push.tag}\n${paint.dim(day(push.created))}`,
        formatBytes(push.bytes.full),
        paint.green(`${push.bytes.estimated ? "~" : ""}${formatBytes(push.bytes.delta)}`),
        formatMoney(push.money.full),
        paint.green(formatMoney(push.money.delta)),
        explain(push),
      ]);
    table.push([
      paint.bold(`${pushes.length} ${tags}`),
      paint.bold(formatBytes(total.bytes.full)),
      paint.bold(paint.green(formatBytes(total.bytes.delta))),
      paint.bold(formatMoney(total.money.full)),
      paint.bold(paint.green(formatMoney(total.money.delta))),
      paint.bold(`saves ${formatMoney(total.money.saved)}`),
    ]);
    stream.write(`${table.toString()}\n`);
    stream.write(
      `"pulled" and "rebased" are what each device downloads; ${fleet} together ` +
        `${formatBytes(total.fleetBytes.full)} or ${formatBytes(total.fleetBytes.delta)}, ` +
        `at ${report.tariff.perGigabyte} ${report.tariff.currency} per GB\n`,
    );
    if (report.tariff.pool !== undefined)
      stream.write("each push is priced as if it were alone on the bill; the last row is one bill for all\n");
    if (report.orderedBy === "tag") stream.write("images do not say when they were made: ordered by tag\n");
  }
  for (const { tag, reason } of skipped) stream.write(`${paint.dim("skipped")} ${tag}: ${reason}\n`);
}

/** Why a push costs what it does, in a few words. */
function explain({ outcome, reason, drift, config }: MeasuredPush): string {
  if (outcome === "nothing") return "nothing changed: layers were only built anew";
  if (outcome === "full" && drift.packages.length === 0) return reason;
  const packages = drift.packages.length === 0 ? [] : [describePackages(drift, MAX_PACKAGES, ", ")];
  const settings = drift.class === "config" && config.changed.length > 0 ? [config.changed.join(", ")] : [];
  return [drift.class, ...packages, ...settings].join(": ");
}

function formatMoney({ amount, currency }: Money): string {
  const digits = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
  return `${amount.toLocaleString("en-US", digits)} ${currency}`;
}

function day(created: string | null): string {
  return created?.slice(0, 10) ?? "";
}

/** The last column takes what a terminal has left, within reason; elsewhere there is no width to keep to. */
function whyWidth({ columns }: NodeJS.WriteStream): number {
  return Math.min(60, Math.max(24, (columns ?? 120) - 75));
}
