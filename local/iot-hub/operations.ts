// Every operation of the hub's REST interface.
import { configurationOperations } from "./configuration-operations.ts";
import { deviceOperations } from "./device-operations.ts";
import type { Operation, OperationsOptions } from "./operation.ts";
import { jobOperations, queryOperations } from "./query-operations.ts";
import { twinOperations } from "./twin-operations.ts";

/** Lists all operations; a route that could also match another one comes before it. */
export function listOperations(options: OperationsOptions): Operation[] {
  return [
    ...configurationOperations(options),
    ...queryOperations(options),
    ...deviceOperations(options),
    ...twinOperations(options),
    ...jobOperations(options),
  ];
}
