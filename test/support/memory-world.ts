// The outside world of activities in memory: every call passes a gate, and all of it can be put back to an earlier moment.
import { createActivities, type Activities } from "../../src/activities/index.ts";
import { createIntake, type Intake } from "../../src/activities/intake.ts";
import type { ActivityPorts, Stores } from "../../src/activities/ports.ts";
import { createDirectEngine } from "../../src/adapters/direct-engine/index.ts";
import { configSchema } from "../../src/core/config-schema.ts";
import type { Descriptor } from "../../src/core/image/descriptor.ts";
import type { TriggerEvent } from "../../src/core/release/trigger-event.ts";
import type { RebaseRuns } from "../../src/ports/rebase-runs.ts";
import type { Repository } from "../../src/ports/registry.ts";
import { rawConfig } from "./config.ts";
import { createMemoryDocumentStore, type MemoryDocumentStore } from "./memory-documents.ts";
import { createMemoryHub, type MemoryHub } from "./memory-hub.ts";
import { createMemoryRegistries, type MemoryRegistries } from "./memory-registries.ts";
import { pushTestImage } from "./test-image.ts";

/** Lets a call of a port through, or not. */
export type Gate = <T>(port: string, call: () => Promise<T>) => Promise<T>;

/** The world and what runs in it. */
export interface World {
  readonly activities: Activities;
  readonly intake: Intake;
  readonly ports: ActivityPorts;
  readonly stores: { readonly [Kind in keyof Stores]: MemoryDocumentStore<unknown> };
  readonly hub: MemoryHub;
  readonly registries: MemoryRegistries;
  /** Releases whose orchestration was started, in order. */
  readonly started: string[];
  gate: Gate;
  /** Pushes an image with this model under a tag. */
  push(tag: string, model: string): Promise<Descriptor>;
  /** The event that a push sends. */
  eventOf(tag: string, image: Descriptor, more?: Partial<TriggerEvent>): TriggerEvent;
  /** Remembers everything; the result puts it all back. */
  save(): () => void;
}

const HOST = "127.0.0.1:5000";
const REPOSITORY = "team/detector";
const STORES = ["releases", "listings", "tagHeads", "productHeads", "commands", "ledgers", "priorities"] as const;

/** Creates a world with one product, one hub and 40 devices without slots, of which one call gives so many. */
export function createMemoryWorld(slotsPerCall: number = 1_000): World {
  const registries = createMemoryRegistries();
  const hub = createMemoryHub(
    "main",
    Array.from({ length: 40 }, (_device, index) => `device-${index}`),
    slotsPerCall,
  );
  const stores = Object.fromEntries(
    STORES.map((kind) => [kind, createMemoryDocumentStore<unknown>()]),
  ) as unknown as World["stores"];
  const cached = new Map<string, Uint8Array>();
  const started: string[] = [];

  /** The same object with every asynchronous method behind the gate. */
  function guard<T extends object>(name: string, target: T): T {
    return new Proxy(target, {
      get(object, key) {
        const value = Reflect.get(object, key) as unknown;
        if (typeof value !== "function" || key === "readBlob" || key === "listTags") return value;
        const method = value as (...args: unknown[]) => Promise<unknown>;
        return (...args: unknown[]) => world.gate(`${name}.${String(key)}`, () => method.apply(object, args));
      },
    });
  }

  const guarded = {
    open: (registry: string, repository: string): Repository =>
      guard("registry", registries.open(registry, repository)),
  };
  const raw = rawConfig();
  raw.products[0]!["engine"] = { kind: "acr-tasks" };
  const engine = createDirectEngine({
    registries: guarded,
    cache: { get: async (name) => cached.get(name), put: async (name, bytes) => void cached.set(name, bytes) },
  });
  /** Runs that are over at once, and leave what the engine of this process would. */
  const runs: RebaseRuns = {
    async start({ anchor, candidate, target = "" }) {
      const { anchor: from, candidate: to } = await engine.compareImages({ anchor, candidate });
      return { kind: "run", handle: { runner: "cmd", runId: "cf1", anchor: from, candidate: to, target } };
    },
    look: async ({ runId }) => ({ state: "succeeded", log: { run: `/runs/${runId}`, tail: "done" } }),
    cancel: async () => {},
    collect: ({ anchor, candidate, target }) =>
      engine.rebase({ anchor: anchor.reference, candidate: candidate.reference, target }),
    linkLog: async () => "",
  };
  const ports: ActivityPorts = {
    config: configSchema.parse(raw),
    stores: Object.fromEntries(STORES.map((kind) => [kind, guard(kind, stores[kind])])) as unknown as Stores,
    registries: guarded,
    engine: guard("engine", engine),
    runs: () => guard("runs", runs),
    hub: () => ({
      name: hub.name,
      deployments: guard("deployments", hub.deployments),
      fleet: guard("fleet", hub.fleet),
    }),
  };

  const maps: Map<string, unknown>[] = [
    registries.blobs,
    registries.manifests,
    hub.devices,
    hub.held,
    cached,
    ...STORES.map((kind) => stores[kind].rows),
  ];
  const world: World = {
    ports,
    stores,
    hub,
    registries,
    started,
    activities: createActivities(ports),
    intake: createIntake(ports, (releaseId) =>
      world.gate("start", async () => {
        if (!started.includes(releaseId)) started.push(releaseId);
      }),
    ),
    gate: (_port, call) => call(),
    push: (tag, model) =>
      pushTestImage(registries.open(HOST, REPOSITORY), tag, {
        layers: [
          { "usr/": {}, "usr/bin": "base" },
          { "app/": {}, "app/model.pkl": model },
          { "lib/": {}, "lib/a.so": { content: "library", mtime: model.length } },
        ],
        config: { Env: [`MODEL=${model}`] },
      }),
    eventOf: (tag, { digest }, more = {}) => ({
      source: "acr-webhook",
      eventId: `push of ${tag}`,
      registry: HOST,
      repository: REPOSITORY,
      tag,
      digest,
      ...more,
    }),
    save() {
      const saved = maps.map((map) => structuredClone([...map]));
      const before = [...started];
      return () => {
        for (const [index, map] of maps.entries()) {
          map.clear();
          for (const [key, value] of structuredClone(saved[index] ?? [])) map.set(key, value);
        }
        started.splice(0, Infinity, ...before);
      };
    },
  };
  return world;
}

/** A call that never came back: the process died before or after the effect. */
export class CutOff extends Error {
  override readonly name = "CutOff";
}

/** Counts the calls of ports; given `after`, dies once that many have had their effect. */
export function createCutter(after: number = Infinity): { readonly gate: Gate; calls(): number } {
  let calls = 0;
  return {
    calls: () => calls,
    async gate(port, call) {
      if (calls >= after) throw new CutOff(`before ${port}`);
      const result = await call();
      if (++calls >= after) throw new CutOff(`after ${port}, call ${calls}`);
      return result;
    },
  };
}

/** Everything that matters of a world, with priorities by rank: an attempt that was cut off may leave a gap in them. */
export function describeWorld(world: World): unknown {
  const rows = Object.entries(world.stores)
    .filter(([kind]) => kind !== "priorities")
    .flatMap(([kind, { rows }]) =>
      [...rows].map(([key, { text }]) => [`${kind}/${key}`, JSON.parse(text) as unknown] as const),
    );
  const all = {
    rows: Object.fromEntries(rows.sort(([a], [b]) => (a < b ? -1 : 1))),
    deployments: Object.fromEntries([...world.hub.held].sort(([a], [b]) => (a < b ? -1 : 1))),
    slots: Object.fromEntries(world.hub.devices),
    tags: Object.fromEntries([...world.registries.manifests].map(([name, { digest }]) => [name, digest])),
    started: world.started,
  };
  const text = JSON.stringify(all);
  const priorities = [...new Set([...text.matchAll(/"priority":(\d+)/g)].map(([, priority]) => Number(priority)))];
  priorities.sort((a, b) => a - b);
  const ranked = text.replaceAll(
    /"priority":(\d+)/g,
    (_all, given) => `"priority":${priorities.indexOf(Number(given))}`,
  );
  return JSON.parse(ranked) as unknown;
}
