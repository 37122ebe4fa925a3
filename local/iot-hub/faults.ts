// Faults that tests order: refused, delayed, reset and lost answers for the next matching requests.

/** What happens to a request. `lost` carries it out and then resets the connection instead of answering. */
type Fault =
  | { readonly kind: "status"; readonly status: 429 | 500 | 502 | 503 | 504 }
  | { readonly kind: "reset" }
  | { readonly kind: "lost" }
  | { readonly kind: "delay"; readonly ms: number };

/** A fault, and the requests it is meant for. */
export interface FaultOrder {
  readonly fault: Fault;
  /** Only requests of this operation, e.g. `configurations.put`; all when left out. */
  readonly operation?: string;
  /** Only requests whose path this matches. */
  readonly path?: RegExp;
  /** Lets so many matching requests pass first; 0 when left out. */
  readonly after?: number;
  /** How many requests it hits; 1 when left out. */
  readonly times?: number;
}

/** Keeps orders and deals them out to requests. */
export interface FaultInjector {
  order(order: FaultOrder): void;
  clear(): void;
  /** The fault for a request, used up by asking. */
  next(operation: string, path: string): Fault | undefined;
}

/** Creates an injector without orders; those ordered first come first. */
export function createFaultInjector(): FaultInjector {
  let orders: { readonly order: FaultOrder; after: number; times: number }[] = [];
  return {
    order: (order) => void orders.push({ order, after: order.after ?? 0, times: order.times ?? 1 }),
    clear: () => void (orders = []),
    next(operation, path) {
      for (const pending of orders) {
        const { order } = pending;
        if (order.operation !== undefined && order.operation !== operation) continue;
        if (order.path !== undefined && !order.path.test(path)) continue;
        if (pending.after > 0) {
          pending.after -= 1;
          continue;
        }
        pending.times -= 1;
        orders = orders.filter(({ times }) => times > 0);
        return order.fault;
      }
      return undefined;
    },
  };
}
