// `npm run bench`: lists the benches, or runs one by name (or `all`) with the flags that follow.
import type { Bench } from "./support/bench.ts";
import { describeMachine } from "./support/machine.ts";
import { rebaseBench } from "./rebase.ts";

const BENCHES: readonly Bench[] = [rebaseBench];

const [name, ...args] = process.argv.slice(2);
const chosen = name === "all" ? BENCHES : BENCHES.filter((bench) => bench.name === name);

if (chosen.length === 0) {
  if (name !== undefined) process.stderr.write(`no bench is called ${name}\n`);
  process.stdout.write("usage: npm run bench NAME [-- FLAGS], where NAME is all or one of\n");
  for (const bench of BENCHES) process.stdout.write(`  ${bench.name.padEnd(12)}${bench.summary}\n`);
  process.exitCode = name === undefined ? 0 : 2;
} else {
  process.stdout.write(`${describeMachine()}\n`);
  for (const bench of chosen) {
    try {
      const met = await bench.run(args);
      if (!met) process.exitCode = 1;
    } catch (error) {
      process.stderr.write(`bench ${bench.name}: ${(error as Error).message}\n`);
      process.exitCode = 2;
    }
  }
}
