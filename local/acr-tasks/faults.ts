// Faults that tests order: for the next runs, and for the next calls of the API.

/** What happens to a run instead of what should. */
export type RunFault =
  /** It stays in Queued until it is canceled. */
  | { readonly kind: "stuck" }
  /** The service fails before a step starts: status Error. */
  | { readonly kind: "error"; readonly message?: string }
  /** It fails at its step of this index (0), which does not start. */
  | { readonly kind: "failed"; readonly step?: number }
  /** Its log never appears; the run itself goes on. */
  | { readonly kind: "no-log" }
  /** Somebody else cancels it: so many ms of the clock after it was queued, or as its first step starts. */
  | { readonly kind: "canceled"; readonly afterMs?: number };

/** What happens to a call. `lost` carries it out, then resets the connection instead of answering. */
type CallFault =
  | { readonly kind: "status"; readonly status: 429 | 500 | 502 | 503 | 504 }
  | { readonly kind: "reset" }
  | { readonly kind: "lost" };

/** A fault for calls, and which. */
export interface CallFaultOrder {
  readonly fault: CallFault;
  /** Only calls of this operation, e.g. `scheduleRun`; all when left out. */
  readonly operation?: string;
  /** How many calls; 1 when left out. */
  readonly times?: number;
}

/** Keeps orders and deals them out. */
export interface FaultOrders {
  addForRuns(fault: RunFault, times: number): void;
  addForCalls(order: CallFaultOrder): void;
  nextForRun(): RunFault | undefined;
  nextForCall(operation: string): CallFault | undefined;
  clear(): void;
}

/** Creates an empty list of orders. */
export function createFaultOrders(): FaultOrders {
  let runs: RunFault[] = [];
  let calls: { readonly order: CallFaultOrder; left: number }[] = [];
  return {
    addForRuns(fault, times) {
      for (let each = 0; each < times; each++) runs.push(fault);
    },
    addForCalls: (order) => void calls.push({ order, left: order.times ?? 1 }),
    nextForRun: () => runs.shift(),
    nextForCall(operation) {
      const found = calls.find(({ order }) => order.operation === undefined || order.operation === operation);
      if (found === undefined) return undefined;
      found.left -= 1;
      calls = calls.filter(({ left }) => left > 0);
      return found.order.fault;
    },
    clear() {
      runs = [];
      calls = [];
    },
  };
}
