// Carries out deployments on a device: plans, runs the steps, and tries failed plans again after their cool-off.
import type { Clock } from "../clock.ts";
import type { DesiredProperties } from "../iot-hub/device-gateway.ts";
import type { Deployment, DesiredStatus, ModuleDefinition } from "./deployment.ts";
import { parseDeployment } from "./deployment.ts";
import type { ImageStore, InstalledImage } from "./image-store.ts";
import { planRetryDelay } from "./module-lifecycle.ts";
import type { ModuleRunner } from "./module-runner.ts";
import type { PlanGroup } from "./plan.ts";
import { planDeployment } from "./plan.ts";
import { PullError } from "./pull-error.ts";
import { DONE, PENDING } from "./reported.ts";

/** What a reconciler knows of the desired properties and how far it is. */
interface ReconcilerState {
  readonly lastDesiredVersion: number;
  readonly lastDesiredStatus: DesiredStatus;
  /** The last deployment that could be read; a bad one changes nothing on the device. */
  readonly deployment: Deployment | undefined;
}

/** Keeps a device's modules as desired. */
export interface Reconciler {
  /** The state to report, or undefined before the first desired properties came. */
  state(): ReconcilerState | undefined;
  /** Takes new desired properties; a pull that goes on for older ones is cancelled. */
  apply(properties: DesiredProperties): void;
  /** Runs a task while no step is running, after those that are queued; what it throws is dropped. */
  whenIdle(task: () => void): void;
  /** Resolves once no step is running; a retry may still be waiting for its time. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

/** The parts a reconciler drives. */
export interface ReconcilerOptions {
  readonly clock: Clock;
  readonly images: ImageStore;
  readonly runner: ModuleRunner;
  readonly onChange: () => void;
}

/** Creates a reconciler that waits for desired properties. */
export function createReconciler({ clock, images, runner, onChange }: ReconcilerOptions): Reconciler {
  let current: ReconcilerState | undefined;
  let work = Promise.resolve();
  let abort = new AbortController();
  let cancelRetry: (() => void) | undefined;

  function setStatus(lastDesiredStatus: DesiredStatus): void {
    current = { ...(current as ReconcilerState), lastDesiredStatus };
    onChange();
  }

  async function install({ image, imagePullPolicy }: ModuleDefinition, signal: AbortSignal): Promise<void> {
    if (imagePullPolicy === "on-create") await images.install(image, signal);
    else findImage(image);
  }

  function findImage(reference: string): InstalledImage {
    const found = images.find(reference);
    if (found !== undefined) return found;
    throw new PullError("IMAGE_ABSENT", { operation: "find image", subject: reference, got: "imagePullPolicy never" });
  }

  async function runGroup({ module, steps, definition }: PlanGroup, signal: AbortSignal): Promise<void> {
    for (const step of steps) {
      signal.throwIfAborted();
      const wanted = definition as ModuleDefinition;
      if (step === "pull") await install(wanted, signal);
      else if (step === "stop") await runner.stop(module);
      else if (step === "remove") runner.remove(module);
      else if (step === "create") runner.create(wanted, findImage(wanted.image));
      else await runner.start(module);
    }
  }

  async function reconcile(deployment: Deployment, retries: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const groups = planDeployment(runner.modules, deployment);
    if (retries === 0 && groups.length > 0) setStatus(PENDING);
    const failures = new Map<string, string>();
    for (const group of groups) {
      try {
        await runGroup(group, signal);
      } catch (error) {
        if (signal.aborted) return;
        failures.set(group.module, error instanceof Error ? error.message : String(error));
      }
    }
    if (signal.aborted) return;
    for (const definition of deployment.modules) if (!failures.has(definition.name)) runner.adopt(definition);
    if (failures.size === 0) return setStatus(DONE);
    const description = [...failures].map(([module, failure]) => `module ${module}: ${failure}`).join("; ");
    setStatus({ code: 500, description });
    const delay = planRetryDelay(retries);
    if (delay !== undefined) cancelRetry = clock.after(delay, () => enqueue(deployment, retries + 1, signal));
  }

  function enqueue(deployment: Deployment, retries: number, signal: AbortSignal): void {
    work = work.then(() => attempt(deployment, retries, signal));
  }

  /** Reconciles; when the device itself fails, e.g. by a full disk, the agent says so and stays ready for what comes next. */
  async function attempt(deployment: Deployment, retries: number, signal: AbortSignal): Promise<void> {
    try {
      await reconcile(deployment, retries, signal);
    } catch (error) {
      const description = error instanceof Error ? error.message : String(error);
      current = { ...(current as ReconcilerState), lastDesiredStatus: { code: 500, description } };
    }
  }

  function supersede(): AbortSignal {
    cancelRetry?.();
    abort.abort();
    abort = new AbortController();
    return abort.signal;
  }

  return {
    state: () => current,
    apply(properties) {
      const signal = supersede();
      const parsed = parseDeployment(properties);
      const bad = "code" in parsed ? parsed : undefined;
      const deployment = "code" in parsed ? current?.deployment : parsed;
      current = { lastDesiredVersion: properties.$version, lastDesiredStatus: bad ?? PENDING, deployment };
      if (bad === undefined) enqueue(parsed as Deployment, 0, signal);
      else onChange();
    },
    whenIdle(task) {
      work = work.then(task).catch(() => undefined);
    },
    settled: () => work,
    async close() {
      supersede();
      abort.abort();
      await work;
    },
  };
}
