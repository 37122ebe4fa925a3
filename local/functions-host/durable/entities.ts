// Runs entity functions: batches of operations per entity, one batch at a time, committed with all they cause.
import { messageOf } from "../errors.ts";
import type { LoadedFunction } from "../functions.ts";
import type { Invoke } from "../invoke.ts";
import { EventType } from "./history.ts";
import type { Instances } from "./instances.ts";
import type { DurableStore } from "./store.ts";

/** An operation on its way to an entity; `input` is JSON text. */
interface EntityRequest {
  readonly op: string;
  readonly signal: boolean;
  readonly input?: string;
  readonly id: string;
  /** The orchestration that waits for the result, with the execution in front of `id`'s colon. */
  readonly parent?: string;
}

/** What the library's entity function returns. */
interface EntityOutcome {
  readonly entityExists: boolean;
  readonly entityState?: string;
  readonly results: readonly { readonly isError: boolean; readonly result?: string }[];
  readonly signals: readonly {
    readonly target: { name: string; key: string };
    readonly name: string;
    readonly input: string;
  }[];
}

/** What entities need. */
export interface EntitiesOptions {
  readonly store: DurableStore;
  readonly instances: Instances;
  readonly invoke: Invoke;
  readonly maxBatch: number;
  newId(): string;
  findFunction(name: string): LoadedFunction | undefined;
  wake(entityId: string): void;
}

/** `@name@key`, the name in lower case, as the library writes it. */
export function formatEntityId(name: string, key: string): string {
  return `@${name.toLowerCase()}@${key}`;
}

function parseEntityId(id: string): { name: string; key: string } {
  const end = id.indexOf("@", 1);
  return { name: id.slice(1, end), key: id.slice(end + 1) };
}

/** Creates the function that runs the next batch of an entity, if any operation waits. */
export function createEntities(options: EntitiesOptions): (entityId: string) => Promise<void> {
  const { store, instances, invoke, maxBatch, newId, findFunction, wake } = options;

  async function execute(entityId: string, requests: readonly EntityRequest[]): Promise<EntityOutcome> {
    const self = parseEntityId(entityId);
    const entity = store.readEntity(entityId);
    const batch = requests.map(({ op, signal, input, id }) => ({ id, name: op, input, isSignal: signal }));
    const trigger = { self, exists: entity !== undefined, state: entity?.state, batch };
    try {
      const fn = findFunction(self.name);
      if (fn === undefined)
        throw new Error(`The function '${self.name}' doesn't exist, is disabled, or is not an entity function.`);
      const { result } = await invoke({ fn, trigger: { string: JSON.stringify(trigger) }, raw: true });
      return result as EntityOutcome;
    } catch (error) {
      const failed = { isError: true, result: JSON.stringify(messageOf(error)) };
      return {
        entityExists: entity !== undefined,
        ...(entity?.state !== undefined && { entityState: entity.state }),
        results: requests.map(() => failed),
        signals: [],
      };
    }
  }

  return async (entityId) => {
    const inbox = store.readEntityInbox(entityId, maxBatch);
    const lastSeq = inbox.at(-1)?.seq;
    if (lastSeq === undefined) return;
    const requests = inbox.map(({ request }) => JSON.parse(request) as EntityRequest);
    const outcome = await execute(entityId, requests);

    store.transaction(() => {
      store.deleteEntityInbox(entityId, lastSeq);
      const state = outcome.entityState === undefined ? {} : { state: outcome.entityState };
      store.writeEntity(entityId, outcome.entityExists ? state : undefined);
      for (const [index, { signal, id, parent }] of requests.entries()) {
        const result = outcome.results[index];
        if (signal || parent === undefined || result === undefined) continue;
        const response = { result: result.result, ...(result.isError && { exceptionType: "System.Exception" }) };
        const executionId = id.slice(0, id.lastIndexOf(":"));
        instances.deliver(parent, executionId, {
          EventType: EventType.EventRaised,
          Name: id,
          Input: JSON.stringify(response),
        });
      }
      for (const { target, name, input } of outcome.signals) {
        const id = formatEntityId(target.name, target.key);
        const request: EntityRequest = { op: name, signal: true, id: newId(), ...(input !== "" && { input }) };
        store.postEntity(id, JSON.stringify(request));
        wake(id);
      }
    });
    // More may wait than one batch holds.
    wake(entityId);
  };
}
