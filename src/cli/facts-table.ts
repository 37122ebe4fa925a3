// Renders named facts as a table: framed where that fits the terminal, else plain lines that the terminal may wrap.
import { stripVTControlCharacters } from "node:util";
import type { Paint } from "./paint.ts";

/** A name and its text, which may have several lines. */
export type Fact = readonly [string, string];

const widthOf = (line: string): number => stripVTControlCharacters(line).length;

/** The table's lines; `columns` is the terminal's width, undefined where nobody looks at one. */
export async function renderFacts(facts: readonly Fact[], paint: Paint, columns: number | undefined): Promise<string> {
  const { default: Table } = await import("cli-table3");
  const table = new Table({ style: { head: [], border: paint.isColorSupported ? ["gray"] : [] } });
  table.push(...facts.map(([name, text]) => [paint.bold(name), text]));
  const framed = table.toString();
  if (columns === undefined || framed.split("\n").every((line) => widthOf(line) <= columns)) return framed;

  const width = Math.max(...facts.map(([name]) => name.length));
  return facts
    .flatMap(([name, text]) =>
      text.split("\n").map((line, at) => `${at === 0 ? paint.bold(name.padEnd(width)) : " ".repeat(width)}  ${line}`),
    )
    .join("\n");
}
