// Durable's engine: queues for orchestrations, entities and activities over one store, resumed from it at start.
import type { Clock } from "../../clock.ts";
import type { LoadedFunction } from "../functions.ts";
import type { DurableTaskSettings } from "../host-json.ts";
import type { Invoke } from "../invoke.ts";
import type { Storage } from "../storage.ts";
import type { Warnings } from "../warnings.ts";
import { createActivities } from "./activities.ts";
import { callHttp } from "./call-http.ts";
import { createEntities } from "./entities.ts";
import { createInstances } from "./instances.ts";
import type { Instances } from "./instances.ts";
import { createKeyedQueue } from "./keyed-queue.ts";
import { createOrchestrations } from "./orchestrations.ts";
import { createDurableStore } from "./store.ts";
import type { DurableStore } from "./store.ts";
import { createTimers } from "./timers.ts";

/** The kinds of functions that the engine runs. */
type DurableKind = "activity" | "orchestration" | "entity";

/** What the engine needs. */
export interface EngineOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly settings: DurableTaskSettings;
  readonly invoke: Invoke;
  readonly warnings: Warnings;
  readonly functions: readonly LoadedFunction[];
  newId(): string;
  /** Told of failures of the engine itself, by instance or activity. */
  failed(what: string, error: unknown): void;
}

/** The engine as clients and triggers see it. */
export interface Engine {
  readonly store: DurableStore;
  readonly instances: Instances;
  findFunction(kind: DurableKind, name: string): LoadedFunction | undefined;
  signalEntity(entityId: string, op: string, input: string | undefined): void;
  /** Calls back once at the next change of an instance's status; returns a function that gives up waiting. */
  onceChanged(id: string, callback: () => void): () => void;
  /** Continues everything that the store holds. */
  start(): void;
  /** Finishes what runs, starts nothing more. */
  stop(): Promise<void>;
}

const TRIGGER_TYPES: Readonly<Record<DurableKind, string>> = {
  activity: "activitytrigger",
  orchestration: "orchestrationtrigger",
  entity: "entitytrigger",
};

/** Creates a stopped engine. */
export function createEngine(options: EngineOptions): Engine {
  const { storage, clock, settings, invoke, warnings, functions, newId, failed } = options;
  const store = createDurableStore(storage);
  const byKey = new Map(functions.map((fn) => [`${fn.trigger.type} ${fn.name}`.toLowerCase(), fn]));
  const findFunction = (kind: DurableKind, name: string): LoadedFunction | undefined =>
    byKey.get(`${TRIGGER_TYPES[kind]} ${name.toLowerCase()}`);
  const now = (): number => clock.now();
  const waiters = new Map<string, Set<() => void>>();
  const changed = (id: string): void => {
    for (const callback of waiters.get(id) ?? []) setImmediate(callback);
    waiters.delete(id);
  };

  const wake = (id: string): void => orchestrationQueue.wake(id);
  const wakeEntity = (id: string): void => entityQueue.wake(id);
  const instances = createInstances({ store, now, newId, wake, changed });
  const activities = createActivities({
    store,
    instances,
    invoke,
    callHttp,
    failed,
    maxConcurrent: settings.maxConcurrentActivityFunctions,
    findFunction: (name) => findFunction("activity", name),
  });
  const timers = createTimers(store, instances, clock);
  const runTurn = createOrchestrations({
    store,
    instances,
    invoke,
    warnings,
    now,
    newId,
    findFunction,
    wake,
    changed,
    httpSleepMs: settings.httpSettings.defaultAsyncRequestSleepTimeMilliseconds,
    start(effects) {
      activities.add(effects.activities);
      for (const id of effects.entities) wakeEntity(id);
      if (effects.timers) timers.arm();
    },
  });
  const runEntity = createEntities({
    store,
    instances,
    invoke,
    newId,
    maxBatch: settings.maxEntityOperationBatchSize,
    wake: wakeEntity,
    findFunction: (name) => findFunction("entity", name),
  });
  const orchestrationQueue = createKeyedQueue(settings.maxConcurrentOrchestratorFunctions, runTurn, failed);
  const entityQueue = createKeyedQueue(settings.maxConcurrentEntityFunctions, runEntity, failed);

  return {
    store,
    instances,
    findFunction,
    signalEntity(entityId, op, input) {
      store.postEntity(
        entityId,
        JSON.stringify({ op, signal: true, id: newId(), ...(input !== undefined && { input }) }),
      );
      wakeEntity(entityId);
    },
    onceChanged(id, callback) {
      const set = waiters.get(id) ?? new Set();
      waiters.set(id, set.add(callback));
      return () => set.delete(callback);
    },
    start() {
      activities.add(store.listActivities());
      for (const id of store.listInboxOwners()) wake(id);
      for (const id of store.listEntityInboxOwners()) wakeEntity(id);
      timers.arm();
    },
    async stop() {
      timers.stop();
      await Promise.all([orchestrationQueue.drain(), entityQueue.drain()]);
      await activities.drain();
    },
  };
}
