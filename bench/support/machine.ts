// One line about the machine a bench ran on, without which its figures say little.
import { availableParallelism, cpus, release, totalmem, type } from "node:os";

/** E.g. `2 cores (AMD EPYC), 25 GB, Linux 6.1.0, Node 24.21.0, zlib 1.3.1`. */
export function describeMachine(): string {
  const model = cpus()[0]?.model.trim() ?? "unknown processor";
  const memory = Math.round(totalmem() / 1e9);
  const { node, zlib } = process.versions;
  return `${availableParallelism()} cores (${model}), ${memory} GB, ${type()} ${release()}, Node ${node}, zlib ${zlib}`;
}
