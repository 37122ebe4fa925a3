// What the commands on images share: their options, their tools, progress bars, and tables.
import type { Command } from "commander";
import type { ImageTools, PlanSummary, Verification } from "../image-tools.ts";
import { renderFacts } from "./facts-table.ts";
import { describePackages, formatBytes, shortenDigest } from "./format.ts";
import { createPaint, type Paint } from "./paint.ts";
import { startProgress } from "./progress.ts";

/** Options that all commands on images take. */
export interface ImageOptions {
  readonly json?: boolean;
  readonly platform?: string;
  readonly cache?: string;
}

/** Adds those options. */
export function addImageOptions(command: Command): Command {
  return command
    .option("--platform <os/arch>", "platform to pick from an index (default: linux/amd64)")
    .option("--cache <folder>", "keep layer indexes here, so that a layer is read once only")
    .option("--json", "print one JSON object");
}

/** The part of the options that goes into a request. */
export function platformOf({ platform }: ImageOptions): { readonly platform?: string } {
  return platform === undefined ? {} : { platform };
}

/** Runs `work` with an engine, showing progress on a terminal. */
export async function withEngine<Result>(
  options: ImageOptions,
  work: (engine: ImageTools["engine"]) => Promise<Result>,
): Promise<Result> {
  return await withImageTools(options, ({ engine }) => work(engine));
}

/** Runs `work` with the image tools, showing progress on a terminal. */
export async function withImageTools<Result>(
  options: ImageOptions,
  work: (tools: ImageTools) => Promise<Result>,
): Promise<Result> {
  const { createImageTools } = await import("../image-tools.ts");
  const progress = options.json === true ? undefined : await startProgress(process.stderr);
  const tools = createImageTools({
    ...(options.cache === undefined ? {} : { indexCache: options.cache }),
    ...(progress === undefined ? {} : { onProgress: progress.add, onStep: progress.step }),
  });
  try {
    return await work(tools);
  } finally {
    progress?.stop();
    await tools.close();
  }
}

/** Prints an outcome: as JSON, or as a table of named facts. */
export async function print(
  value: unknown,
  json: boolean | undefined,
  toRows: (paint: Paint) => readonly (readonly [string, string])[],
): Promise<void> {
  if (json === true) {
    process.stdout.write(`${JSON.stringify(value)}\n`);
    return;
  }
  const paint = createPaint(process.stdout);
  const { columns, isTTY } = process.stdout;
  process.stdout.write(`${await renderFacts(toRows(paint), paint, isTTY ? columns : undefined)}\n`);
}

/** How many packages a plan's table names. */
const MAX_PACKAGES = 20;

/** The rows of a plan. */
export function planRows(plan: PlanSummary, paint: Paint): (readonly [string, string])[] {
  const { bytes, files, drift, config } = plan;
  const { mtimeOnly, pyc, volatile } = files.ignored;
  const rows: (readonly [string, string])[] = [
    ["anchor", `${plan.anchor.reference}\n${paint.dim(plan.anchor.digest)}`],
    ["candidate", `${plan.candidate.reference}\n${paint.dim(plan.candidate.digest)}`],
    ["outcome", `${paint.green(plan.outcome)}: ${plan.reason}`],
    ["shared layers", String(plan.sharedLayers)],
    ["files", `${files.added} added, ${files.changed} changed, ${files.removed} removed`],
    ["ignored", `${mtimeOnly} by time only, ${pyc} .pyc, ${volatile} volatile`],
    ["drift", drift.class],
  ];
  if (drift.packages.length > 0) rows.push(["packages", describePackages(drift, MAX_PACKAGES, "\n")]);
  if (config.changed.length > 0) rows.push(["settings", config.changed.join(", ")]);
  rows.push(["download, whole", formatBytes(bytes.full)]);
  rows.push(["download, rebased", paint.bold(`${bytes.estimated ? "about " : ""}${formatBytes(bytes.delta)}`)]);
  return rows;
}

/** The row of a verification. */
export function verificationRow(verified: Verification, paint: Paint): readonly [string, string] {
  return ["verified", verified === "exact" ? paint.green("exact") : paint.red(verified.join("\n"))];
}

/** One line per delta layer. */
export function layerRow(layers: readonly { readonly digest: string; readonly size: number }[]): [string, string] {
  return ["delta layers", layers.map(({ digest, size }) => `${shortenDigest(digest)} ${size} B`).join("\n") || "none"];
}
