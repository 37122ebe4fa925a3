// Evaluates target conditions on the hub's own beat: shortly after a configuration changes, then every few minutes.
import type { Clock } from "../clock.ts";
import type { Assigner, Assignment } from "./assignment.ts";
import { byRank } from "./assignment.ts";
import type { Configuration } from "./configuration.ts";
import type { Device, DeviceStore } from "./device-store.ts";

/** What an evaluation looks at, when, and what it sets off. */
export interface EvaluationOptions {
  readonly clock: Clock;
  readonly devices: DeviceStore;
  readonly assigner: Assigner;
  /** From a change of a configuration to its first evaluation, in ms. */
  readonly delayMs: number;
  /** Between evaluations of everything, in ms. */
  readonly intervalMs: number;
  /** Carries out a device's new assignment. */
  apply(device: Device, assignment: Assignment): void;
  /** Counts what an evaluation found for these configurations; what it returns shows the counts. */
  measure(configurations: readonly Configuration[]): () => void;
  /** From counting to showing, in ms. */
  readonly metricsLagMs: number;
}

/** The running evaluation of all configurations. */
export interface Evaluation {
  /** A configuration was created or changed. */
  schedule(configuration: Configuration): void;
  /** A configuration was deleted; devices notice at the next evaluation. */
  remove(configuration: Configuration): void;
  /** How many devices the configuration targeted when it was last evaluated. */
  countTargets(configuration: Configuration): number;
  /** The assignment a device got last. */
  assignmentOf(device: Device): Assignment | undefined;
  close(): void;
}

/** Which devices a configuration targets, by place; as of its last evaluation. */
interface Targets {
  bits: Uint8Array;
  count: number;
  /** Its priority when devices were last resolved. */
  priority: number | undefined;
  /** Whether its condition may have changed since all devices were last tested. */
  stale: boolean;
  /** How many changes of devices there had been when all were last tested. */
  testedAt: number;
}

/** A way from the highest rank down through the configurations that target a device. */
interface Branch {
  readonly next: Map<Configuration, Branch>;
  readonly assignments: Map<Assignment | undefined, Assignment>;
}

/** Starts evaluating; targeting is remembered per configuration, so that an idle evaluation costs next to nothing. */
export function createEvaluation(options: EvaluationOptions): Evaluation {
  const { clock, devices, assigner } = options;
  const configurations = new Map<Configuration, Targets>();
  const removed = new Map<Configuration, Targets>();
  const assigned: (Assignment | undefined)[] = [];
  /** When configurations that changed are evaluated; those due together are evaluated together. */
  const due = new Map<Configuration, number>();
  /** Devices that changed since the last evaluation of everything, with the number of the change. */
  let changed = new Map<Device, number>();
  let changes = 0;
  const cancels = new Set<() => void>();

  const later = (ms: number, callback: () => void): void => {
    const cancel = clock.after(ms, () => {
      cancels.delete(cancel);
      callback();
    });
    cancels.add(cancel);
  };

  const test = (configuration: Configuration, targets: Targets, device: Device): boolean => {
    const twin = device.twin.current;
    const hit = twin !== undefined && device.iotEdge && configuration.settings.targets(twin) ? 1 : 0;
    const { index } = device;
    if (index >= targets.bits.length) {
      const grown = new Uint8Array(Math.max(1024, devices.places().length * 2));
      grown.set(targets.bits);
      targets.bits = grown;
    }
    const before = targets.bits[index];
    if (before === hit) return false;
    targets.bits[index] = hit;
    targets.count += hit === 1 ? 1 : -1;
    return true;
  };

  const addTargeted = ({ bits }: Targets, dirty: Set<Device>): void => {
    for (const device of devices.devices()) if (bits[device.index] === 1) dirty.add(device);
  };

  const testAll = (configuration: Configuration, targets: Targets, dirty: Set<Device>): void => {
    if (targets.stale) {
      for (const device of devices.devices()) if (test(configuration, targets, device)) dirty.add(device);
      targets.testedAt = changes;
    }
    if (targets.priority !== configuration.settings.priority) addTargeted(targets, dirty);
    targets.stale = false;
    targets.priority = configuration.settings.priority;
  };

  const resolve = (dirty: ReadonlySet<Device>): void => {
    if (dirty.size === 0) return;
    const ranked = [...configurations].toSorted(([a], [b]) => byRank(a, b));
    const root: Branch = { next: new Map(), assignments: new Map() };
    for (const device of dirty) {
      if (device.twin.current === undefined) continue;
      let branch = root;
      for (const [configuration, { bits }] of ranked) {
        if (bits[device.index] !== 1) continue;
        let next = branch.next.get(configuration);
        if (next === undefined) branch.next.set(configuration, (next = { next: new Map(), assignments: new Map() }));
        branch = next;
      }
      const before = assigned[device.index];
      let assignment = branch.assignments.get(before);
      if (assignment === undefined) {
        const targeted = ranked
          .filter(([, { bits }]) => bits[device.index] === 1)
          .map(([configuration]) => configuration);
        assignment = assigner.assign(before, targeted);
        branch.assignments.set(before, assignment);
      }
      if (assignment === before) continue;
      assigned[device.index] = assignment;
      options.apply(device, assignment);
    }
  };

  const evaluate = (chosen: readonly Configuration[], dirty: Set<Device>): void => {
    for (const configuration of chosen) {
      due.delete(configuration);
      const gone = removed.get(configuration);
      if (gone !== undefined) addTargeted(gone, dirty);
      removed.delete(configuration);
      const targets = configurations.get(configuration);
      if (targets !== undefined) testAll(configuration, targets, dirty);
    }
    resolve(dirty);
    const show = options.measure(chosen.filter((configuration) => configurations.has(configuration)));
    if (options.metricsLagMs > 0) later(options.metricsLagMs, show);
    else show();
  };

  const evaluateDue = (): void => {
    const now = clock.now();
    const ready = [...due].filter(([, dueMs]) => dueMs <= now).map(([configuration]) => configuration);
    if (ready.length > 0) evaluate(ready, new Set());
  };

  const evaluateSoon = (configuration: Configuration): void => {
    due.set(configuration, clock.now() + options.delayMs);
    later(options.delayMs, evaluateDue);
  };

  const evaluateAll = (): void => {
    const dirty = new Set<Device>();
    for (const [configuration, targets] of configurations) {
      for (const [device, change] of changed) {
        if (change > targets.testedAt && test(configuration, targets, device)) dirty.add(device);
      }
      targets.testedAt = changes;
    }
    changed = new Map();
    evaluate([...configurations.keys(), ...removed.keys()], dirty);
  };

  let nextTickMs = clock.now() + options.intervalMs;
  const arm = (): void =>
    later(Math.max(0, nextTickMs - clock.now()), () => {
      nextTickMs += options.intervalMs;
      if (nextTickMs <= clock.now()) nextTickMs = clock.now() + options.intervalMs;
      evaluateAll();
      arm();
    });
  arm();
  devices.listen({
    desired: () => {},
    targeting: (device) => void changed.set(device, ++changes),
    removed(device) {
      changed.delete(device);
      for (const targets of [...configurations.values(), ...removed.values()]) {
        if (targets.bits[device.index] !== 1) continue;
        targets.bits[device.index] = 0;
        targets.count -= 1;
      }
      assigned[device.index] = undefined;
    },
  });

  return {
    schedule(configuration) {
      const targets = configurations.get(configuration);
      if (targets === undefined)
        configurations.set(configuration, {
          bits: new Uint8Array(0),
          count: 0,
          priority: undefined,
          stale: true,
          testedAt: 0,
        });
      else targets.stale = true;
      evaluateSoon(configuration);
    },
    remove(configuration) {
      const targets = configurations.get(configuration);
      if (targets === undefined) return;
      configurations.delete(configuration);
      removed.set(configuration, targets);
      evaluateSoon(configuration);
    },
    countTargets: (configuration) => configurations.get(configuration)?.count ?? 0,
    assignmentOf: (device) => assigned[device.index],
    close() {
      for (const cancel of cancels) cancel();
      cancels.clear();
    },
  };
}
