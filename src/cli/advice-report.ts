// Prints advice on an image: a table of its instructions and plain sentences, or one JSON object for programs.
import type { AdviceSummary } from "../image-tools.ts";
import { formatBytes } from "./format.ts";
import { createPaint } from "./paint.ts";

type Instruction = AdviceSummary["instructions"][number];
type Advice = AdviceSummary["advice"][number];

/** Writes the advice to `stream`. */
export async function printAdvice(
  summary: AdviceSummary,
  json: boolean | undefined,
  stream: NodeJS.WriteStream,
): Promise<void> {
  if (json === true) {
    stream.write(`${JSON.stringify(summary)}\n`);
    return;
  }
  const { default: Table } = await import("cli-table3");
  const paint = createPaint(stream);
  const { image, pushes, instructions, advice } = summary;
  const table = new Table({
    head: [
      "layer",
      "instruction",
      "download",
      "holds",
      ...(pushes > 0 ? ["what became of it", "churn per push"] : []),
    ].map(paint.bold),
    style: { head: [], border: paint.isColorSupported ? ["gray"] : [] },
    colAligns: ["right", "left", "right", "left", "left", "right"],
    colWidths: [null, 44],
    wordWrap: true,
  });
  for (const step of instructions) {
    const facts = [step.layer, step.createdBy, formatBytes(step.size), step.class];
    const churn = step.churnBytes > 0 ? paint.red(formatBytes(step.churnBytes)) : "–";
    table.push(pushes > 0 ? [...facts, describeFates(step), churn] : facts);
  }
  const compared = pushes === 0 ? "by what its layers hold" : `by ${pushes} ${pushes === 1 ? "push" : "pushes"}`;
  stream.write(`${image.reference}, ${compared}\n${table.toString()}\n`);
  if (advice.length === 0) stream.write(`${paint.green("nothing to advise")}\n`);
  for (const one of advice) stream.write(`${paint.bold(one.kind)}: ${one.text}; ${describeBytes(one)}\n`);
}

const FATES = { same: "unchanged", rebuilt: "built anew, equal", changed: "changed", new: "new" } as const;

function describeFates({ pushes }: Instruction): string {
  const fates = (Object.keys(FATES) as (keyof typeof FATES)[]).filter((fate) => pushes[fate] > 0);
  return fates.map((fate) => `${pushes[fate]} × ${FATES[fate]}`).join("\n");
}

function describeBytes({ kind, bytes, estimated }: Advice): string {
  if (kind === "hidden") return `${formatBytes(bytes)} before compression, in every image`;
  return `saves ${estimated ? "about " : ""}${formatBytes(bytes)} per push and device`;
}
