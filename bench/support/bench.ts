// What a bench is, and how its targets are told.
import Table from "cli-table3";
import colors from "picocolors";

/** One bench: `run` prints what it measures and resolves to whether every target was met. */
export interface Bench {
  readonly name: string;
  readonly summary: string;
  run(args: readonly string[]): Promise<boolean>;
}

/** A measured value against what it must be; `met` undefined when the measurement was left out. */
export interface Target {
  readonly what: string;
  readonly want: string;
  readonly got: string;
  readonly met: boolean | undefined;
}

/** A target that asks for at least (`>=`) or at most (`<=`) `limit`; `format` words both numbers. */
export function judge(
  what: string,
  value: number | undefined,
  comparison: ">=" | "<=",
  limit: number,
  format: (value: number) => string,
): Target {
  const want = `${comparison === ">=" ? "≥" : "≤"} ${format(limit)}`;
  if (value === undefined) return { what, want, got: "not measured", met: undefined };
  return { what, want, got: format(value), met: comparison === ">=" ? value >= limit : value <= limit };
}

/** Prints rows under a header, numbers to the right. */
export function printTable(header: readonly string[], rows: readonly (readonly string[])[]): void {
  const table = new Table({
    head: [...header],
    colAligns: header.map((_, index) => (index === 0 ? "left" : "right")),
    style: { head: [], border: [] },
  });
  table.push(...rows.map((row) => [...row]));
  process.stdout.write(`${table.toString()}\n`);
}

/** Prints the targets with their verdicts; returns whether none was missed. */
export function printTargets(targets: readonly Target[]): boolean {
  const verdict = ({ met }: Target): string =>
    met === undefined ? colors.yellow("skipped") : met ? colors.green("pass") : colors.red("miss");
  printTable(
    ["Target", "Want", "Got", "Verdict"],
    targets.map((target) => [target.what, target.want, target.got, verdict(target)]),
  );
  return targets.every(({ met }) => met !== false);
}
