// One accounted device: the edge agent's state machine without the pulling, driven by the ticks of its fleet.
import type { DesiredProperties, DeviceConnection, DeviceHandlers } from "../iot-hub/device-gateway.ts";
import type { DeviceBehaviour } from "./accounted-behaviour.ts";
import type { Deployment, DesiredStatus, ModuleDefinition } from "./deployment.ts";
import type { AccountedLayer, LayerSet, LayerSets } from "./layer-sets.ts";
import type { ModuleState } from "./module-lifecycle.ts";
import { CREATED, exitModule, planRetryDelay, startModule, stopModule } from "./module-lifecycle.ts";
import type { PlanGroup } from "./plan.ts";
import { planDeployment } from "./plan.ts";
import { DONE, PENDING, reportModule, reportStatus } from "./reported.ts";

/** What a device needs of its fleet. */
export interface FleetServices {
  readonly layerSets: LayerSets;
  now(): number;
  /** Calls `device.wake(work)` in a later tick. */
  schedule(delayMs: number, device: AccountedDevice, work: DeviceWork): void;
  parse(properties: DesiredProperties): Deployment | DesiredStatus;
  decide(deviceId: string, image: string): DeviceBehaviour;
  /** An image's layers, or a promise while they are being looked up. */
  layersOf(image: string): readonly AccountedLayer[] | Promise<readonly AccountedLayer[]>;
  connect(deviceId: string, handlers: DeviceHandlers): DeviceConnection;
  /** Called when a pull ended. */
  pulled(image: string, bytes: number, ok: boolean): void;
}

/** Something a device does later; stale when its deployment or module is no longer the current one. */
export type DeviceWork =
  | { readonly kind: "disconnect" | "reconnect" }
  | { readonly kind: "pull" | "finish" | "report"; readonly attempt: Attempt }
  | { readonly kind: "exit" | "restart"; readonly module: AccountedModule; readonly startMs: number | undefined };

/** One attempt at a deployment. */
interface Attempt {
  readonly deployment: Deployment;
  readonly groups: readonly PlanGroup[];
  readonly retries: number;
}

/** A module that an accounted device holds. */
export interface AccountedModule {
  definition: ModuleDefinition;
  state: ModuleState;
  readonly crashAfterMs: number | undefined;
}

/** A device that reports what a real one would. It has no timers of its own. */
export class AccountedDevice implements DeviceHandlers {
  readonly deviceId: string;
  layers: LayerSet;
  modules: Map<string, AccountedModule> = new Map();
  status: DesiredStatus | undefined;
  version = 0;
  connection: DeviceConnection | undefined;
  readonly #fleet: FleetServices;
  #attempt: Attempt | undefined;
  /** The image for which the device has been away already. */
  #awayFor = "";
  #unreported: Set<string> | undefined;

  constructor(deviceId: string, fleet: FleetServices) {
    this.deviceId = deviceId;
    this.#fleet = fleet;
    this.layers = fleet.layerSets.empty;
  }

  connect(): void {
    this.connection = this.#fleet.connect(this.deviceId, this);
    if (this.#unreported !== undefined) this.#publish();
  }

  desired(properties: DesiredProperties): void {
    if (properties.$version === this.version) return;
    const parsed = this.#fleet.parse(properties);
    if ("code" in parsed) {
      this.version = properties.$version;
      this.#attempt = undefined;
      this.#setStatus(parsed);
      return;
    }
    const groups = planDeployment(this.modules, parsed);
    const away = this.#timeAway(groups);
    if (away > 0) {
      this.#attempt = undefined;
      this.#fleet.schedule(0, this, { kind: "disconnect" });
      if (away < Number.POSITIVE_INFINITY) this.#fleet.schedule(away, this, { kind: "reconnect" });
      return;
    }
    this.version = properties.$version;
    this.#begin({ deployment: parsed, groups, retries: 0 });
  }

  wake(work: DeviceWork): void {
    switch (work.kind) {
      case "disconnect":
        this.connection?.disconnect();
        this.connection = undefined;
        break;
      case "reconnect":
        this.connect();
        break;
      case "pull":
        if (work.attempt === this.#attempt) this.#pull(work.attempt);
        break;
      case "finish":
        if (work.attempt === this.#attempt) this.#finish(work.attempt);
        break;
      case "report":
        if (work.attempt === this.#attempt) this.#conclude();
        break;
      default:
        this.#moduleWork(work);
    }
  }

  /** How long the device is away before it takes these images, once per set of images. */
  #timeAway(groups: readonly PlanGroup[]): number {
    const images = groups.flatMap(({ steps, definition }) =>
      steps.includes("pull") && definition ? [definition.image] : [],
    );
    const key = images.join(" ");
    if (key === "" || key === this.#awayFor) return 0;
    this.#awayFor = key;
    return Math.max(...images.map((image) => this.#fleet.decide(this.deviceId, image).offlineMs));
  }

  #begin(attempt: Attempt): void {
    this.#attempt = attempt;
    if (attempt.retries === 0 && attempt.groups.length > 0) this.#setStatus(PENDING);
    this.#pull(attempt);
  }

  /** Works out how long the attempt's pulls take. */
  #pull(attempt: Attempt): void {
    let delayMs = 0;
    let { layers } = this;
    for (const { steps, definition } of attempt.groups) {
      if (definition === undefined || !steps.includes("pull")) continue;
      const { image } = definition;
      const needed = this.#fleet.layersOf(image);
      if (needed instanceof Promise) {
        const again = (): void => this.wake({ kind: "pull", attempt });
        void needed.then(again, () => this.#attempt === attempt && this.#fail(attempt, [`cannot pull ${image}`]));
        return;
      }
      const behaviour = this.#fleet.decide(this.deviceId, image);
      delayMs += behaviour.startMs;
      if (attempt.retries < behaviour.failedPulls) continue;
      const gain = this.#fleet.layerSets.add(layers, image, needed);
      layers = gain.set;
      delayMs += (gain.missingBytes / behaviour.bytesPerSecond) * 1000;
    }
    if (attempt.groups.length === 0) this.#finish(attempt);
    else this.#fleet.schedule(delayMs, this, { kind: "finish", attempt });
  }

  #finish(attempt: Attempt): void {
    const failures: string[] = [];
    let reportDelayMs = 0;
    for (const group of attempt.groups) {
      const image = group.definition?.image;
      const behaviour = image === undefined ? undefined : this.#fleet.decide(this.deviceId, image);
      reportDelayMs = Math.max(reportDelayMs, behaviour?.reportDelayMs ?? 0);
      if (!this.#runGroup(group, attempt.retries, behaviour))
        failures.push(`module ${group.module}: cannot pull ${image}`);
    }
    for (const definition of attempt.deployment.modules) {
      const module = this.modules.get(definition.name);
      if (module !== undefined && !failures.some((failure) => failure.startsWith(`module ${definition.name}:`))) {
        module.definition = definition;
      }
    }
    if (failures.length > 0) return this.#fail(attempt, failures);
    this.status = DONE;
    if (reportDelayMs === 0) this.#conclude();
    else this.#fleet.schedule(reportDelayMs, this, { kind: "report", attempt });
  }

  #conclude(): void {
    this.#attempt = undefined;
    this.#publish();
  }

  #fail(attempt: Attempt, failures: readonly string[]): void {
    this.#setStatus({ code: 500, description: failures.join("; ") });
    const delayMs = planRetryDelay(attempt.retries);
    if (delayMs === undefined) return;
    const { deployment, retries } = attempt;
    const next = { deployment, groups: planDeployment(this.modules, deployment), retries: retries + 1 };
    this.#attempt = next;
    this.#fleet.schedule(delayMs, this, { kind: "pull", attempt: next });
  }

  /** Carries out a group's steps; false when its pull failed. */
  #runGroup(
    { module: name, steps, definition }: PlanGroup,
    retries: number,
    behaviour: DeviceBehaviour | undefined,
  ): boolean {
    for (const step of steps) {
      if (step === "pull" && definition !== undefined && behaviour !== undefined) {
        const layers = this.#fleet.layersOf(definition.image);
        if (layers instanceof Promise || retries < behaviour.failedPulls) {
          this.#fleet.pulled(definition.image, 0, false);
          return false;
        }
        const gain = this.#fleet.layerSets.add(this.layers, definition.image, layers);
        this.layers = gain.set;
        this.#fleet.pulled(definition.image, gain.missingBytes, true);
      } else if (step === "create" && definition !== undefined) {
        this.modules.set(name, { definition, state: CREATED, crashAfterMs: behaviour?.crashAfterMs });
      } else if (step === "remove") this.modules.delete(name);
      else this.#startOrStop(name, step === "start");
    }
    this.#note(name);
    return true;
  }

  #startOrStop(name: string, start: boolean): void {
    const module = this.modules.get(name);
    if (module === undefined) return;
    const now = this.#fleet.now();
    module.state = start ? startModule(module.state, now) : stopModule(module.state, 143, now);
    if (start) this.#awaitCrash(module);
  }

  #awaitCrash(module: AccountedModule): void {
    if (module.crashAfterMs === undefined) return;
    this.#fleet.schedule(module.crashAfterMs, this, { kind: "exit", module, startMs: module.state.lastStartMs });
  }

  #moduleWork({ kind, module, startMs }: Extract<DeviceWork, { readonly module: AccountedModule }>): void {
    const { name, restartPolicy } = module.definition;
    const expected = kind === "exit" ? "running" : "backoff";
    const { runtimeStatus, lastStartMs } = module.state;
    if (this.modules.get(name) !== module || runtimeStatus !== expected || lastStartMs !== startMs) return;
    if (kind === "exit") {
      const { state, restartAfterMs } = exitModule(module.state, 1, restartPolicy, this.#fleet.now());
      module.state = state;
      if (restartAfterMs !== undefined)
        this.#fleet.schedule(restartAfterMs, this, { kind: "restart", module, startMs });
    } else {
      module.state = startModule(module.state, this.#fleet.now());
      this.#awaitCrash(module);
    }
    this.#note(name);
    this.#publish();
  }

  #setStatus(status: DesiredStatus): void {
    this.status = status;
    this.#unreported ??= new Set();
    this.#publish();
  }

  /** Marks a module for the next report. */
  #note(name: string): void {
    this.#unreported = (this.#unreported ?? new Set()).add(name);
  }

  #publish(): void {
    if (this.status === undefined) return;
    const late = this.status === DONE && this.#attempt !== undefined;
    if (this.connection === undefined || late) {
      this.#unreported ??= new Set();
      return;
    }
    const modules: Record<string, unknown> = {};
    for (const name of this.#unreported ?? []) {
      const module = this.modules.get(name);
      const imageHash =
        module === undefined ? "" : module.definition.image.slice(module.definition.image.indexOf("@") + 1);
      modules[name] = module === undefined ? null : reportModule({ ...module, imageHash });
    }
    const changed = this.#unreported !== undefined && this.#unreported.size > 0;
    this.#unreported = undefined;
    this.connection.report("$edgeAgent", {
      lastDesiredVersion: this.version,
      lastDesiredStatus: reportStatus(this.status),
      ...(changed && { modules }),
    });
  }
}
