// What clients and parents do to instances: start, raise events, suspend, resume, terminate, purge.
import { EventType, toEvent } from "./history.ts";
import type { HistoryFact } from "./history.ts";
import { isTerminal } from "./store.ts";
import type { DurableStore, Instance, InstanceFilter, ParentLink } from "./store.ts";

/** A request for a new instance; `input` is JSON text. */
interface StartRequest {
  readonly id: string;
  readonly name: string;
  readonly input: string;
  readonly version?: string;
  readonly parent?: ParentLink;
}

/** What became of an operation: `gone` for an instance that has ended. */
export type OperationResult = "done" | "gone" | "missing";

/** The operations; each is one transaction, joined to the caller's if there is one. */
export interface Instances {
  /** Starts an instance; a finished one of the same id is replaced, a running one stays and false is returned. */
  start(request: StartRequest): boolean;
  raiseEvent(id: string, name: string, input: string): OperationResult;
  suspend(id: string, reason: string): OperationResult;
  resume(id: string, reason: string): OperationResult;
  terminate(id: string, reason: string): OperationResult;
  /** Deletes a finished instance; returns whether it was there and finished. */
  purge(id: string): boolean;
  /** Deletes the finished instances that match; returns how many. */
  purgeBy(filter: InstanceFilter): number;
  /** Delivers an outcome to an execution that may be waiting for it; drops it if that execution is over. */
  deliver(id: string, executionId: string, fact: HistoryFact): void;
}

/** What the operations need. */
export interface InstancesOptions {
  readonly store: DurableStore;
  now(): number;
  newId(): string;
  /** Called for each instance that has something new in its inbox, possibly before the transaction ends. */
  wake(id: string): void;
  /** Called for each instance that changed its status. */
  changed(id: string): void;
}

/** Creates the operations. */
export function createInstances({ store, now, newId, wake, changed }: InstancesOptions): Instances {
  function operate(id: string, apply: (instance: Instance) => void): OperationResult {
    return store.transaction(() => {
      const instance = store.readInstance(id);
      if (instance === undefined) return "missing";
      if (isTerminal(instance.status)) return "gone";
      apply(instance);
      return "done";
    });
  }

  const instances: Instances = {
    start({ id, name, input, version, parent }) {
      return store.transaction(() => {
        const existing = store.readInstance(id);
        if (existing !== undefined && !isTerminal(existing.status)) return false;
        if (existing !== undefined) store.deleteInstance(id);
        const at = now();
        const executionId = newId();
        const status = "Pending";
        const base = {
          id,
          name,
          executionId,
          status,
          input,
          output: null,
          customStatus: null,
          createdAt: at,
          updatedAt: at,
        };
        store.writeInstance({
          ...base,
          ...(version !== undefined && { version }),
          ...(parent && { parent }),
        } as Instance);
        const versioned = version === undefined ? {} : { Version: version };
        store.post(id, executionId, at, {
          EventType: EventType.ExecutionStarted,
          Name: name,
          Input: input,
          ...versioned,
        });
        wake(id);
        return true;
      });
    },
    raiseEvent: (id, name, input) =>
      operate(id, () => {
        store.post(id, null, now(), { EventType: EventType.EventRaised, Name: name, Input: input });
        wake(id);
      }),
    suspend: (id, reason) =>
      operate(id, (instance) => {
        if (instance.status === "Suspended") return;
        store.post(id, instance.executionId, now(), { EventType: EventType.ExecutionSuspended, Input: reason });
        store.writeInstance({ ...instance, status: "Suspended", updatedAt: now() });
        changed(id);
      }),
    resume: (id, reason) =>
      operate(id, (instance) => {
        if (instance.status !== "Suspended") return;
        store.post(id, instance.executionId, now(), { EventType: EventType.ExecutionResumed, Input: reason });
        store.writeInstance({ ...instance, status: "Running", updatedAt: now() });
        wake(id);
        changed(id);
      }),
    terminate: (id, reason) =>
      operate(id, (instance) => {
        const at = now();
        const event = toEvent({ EventType: EventType.ExecutionTerminated, Input: reason }, at);
        store.appendHistory(id, store.readHistory(id).length, [event]);
        store.writeInstance({ ...instance, status: "Terminated", output: JSON.stringify(reason), updatedAt: at });
        store.deleteInbox(id, Number.MAX_SAFE_INTEGER);
        store.deleteTimers(id);
        const { parent } = instance;
        if (parent !== undefined) {
          instances.deliver(parent.instanceId, parent.executionId, {
            EventType: EventType.SubOrchestrationInstanceFailed,
            TaskScheduledId: parent.taskId,
            Reason: `The sub-orchestrator function '${instance.name}' was terminated: ${reason}`,
            Details: reason,
          });
        }
        changed(id);
      }),
    purge(id) {
      return store.transaction(() => {
        const instance = store.readInstance(id);
        if (instance === undefined || !isTerminal(instance.status)) return false;
        store.deleteInstance(id);
        changed(id);
        return true;
      });
    },
    purgeBy(filter) {
      return store.transaction(() => {
        const wanted = filter.statuses ?? ["Completed", "Failed", "Terminated"];
        const { instances: found } = store.listInstances({ ...filter, statuses: wanted }, Number.MAX_SAFE_INTEGER - 1);
        return found.filter(({ id }) => instances.purge(id)).length;
      });
    },
    deliver(id, executionId, fact) {
      const instance = store.readInstance(id);
      if (instance === undefined || isTerminal(instance.status) || instance.executionId !== executionId) return;
      store.post(id, executionId, now(), fact);
      wake(id);
    },
  };
  return instances;
}
