// The modules on one device: created from images, started, stopped, and restarted by their policies after their cool-off.
import type { Clock } from "../clock.ts";
import type { ModuleDefinition } from "./deployment.ts";
import type { InstalledImage } from "./image-store.ts";
import type { ModuleState } from "./module-lifecycle.ts";
import { CREATED, exitModule, failStart, startModule, stopModule } from "./module-lifecycle.ts";
import type { ModuleProcess } from "./module-process.ts";
import { startProcess } from "./module-process.ts";
import { PullError } from "./pull-error.ts";

/** A module that exists on the device. */
interface DeviceModule {
  readonly definition: ModuleDefinition;
  readonly image: InstalledImage;
  readonly state: ModuleState;
  /** The module's process, which may have ended. */
  readonly process: { readonly pid: number } | undefined;
}

/** Owns the modules; every change of state is announced through `onChange`. */
export interface ModuleRunner {
  readonly modules: ReadonlyMap<string, DeviceModule>;
  create(definition: ModuleDefinition, image: InstalledImage, state?: ModuleState): void;
  /** Takes over what may change in place: restart policy, order, desired status. */
  adopt(definition: ModuleDefinition): void;
  start(name: string): Promise<void>;
  stop(name: string): Promise<void>;
  remove(name: string): void;
  /** The end of what the module wrote since it last started. */
  logs(name: string): string;
  /** Ends every process; their states stay as they were. */
  close(): Promise<void>;
}

/** Where modules run. */
export interface ModuleRunnerOptions {
  readonly deviceId: string;
  readonly clock: Clock;
  readonly killAfterMs: number;
  readonly onChange: () => void;
}

interface Slot {
  definition: ModuleDefinition;
  readonly image: InstalledImage;
  state: ModuleState;
  process: ModuleProcess | undefined;
  starting: Promise<void> | undefined;
  running: boolean;
  cancelRestart: (() => void) | undefined;
}

/** The exit code a shell gives for a command that cannot be run. */
const COMMAND_NOT_STARTED = 126;

/** Creates a runner without modules. */
export function createModuleRunner({ deviceId, clock, killAfterMs, onChange }: ModuleRunnerOptions): ModuleRunner {
  const slots = new Map<string, Slot>();
  let closed = false;

  const get = (name: string): Slot => {
    const slot = slots.get(name);
    if (slot !== undefined) return slot;
    throw new PullError("IMAGE_ABSENT", { operation: "find module", subject: name });
  };

  function start(slot: Slot): Promise<void> {
    slot.starting = launch(slot);
    return slot.starting;
  }

  async function launch(slot: Slot): Promise<void> {
    const { definition, image } = slot;
    const env = { IOTEDGE_DEVICEID: deviceId, IOTEDGE_MODULEID: definition.name, ...definition.env };
    try {
      const process = await startProcess({ image, options: definition.options, env, killAfterMs });
      slot.process = process;
      slot.running = true;
      slot.state = startModule(slot.state, clock.now());
      void watch(slot, process);
    } catch (error) {
      slot.state = failStart(slot.state, error instanceof Error ? error.message : String(error));
      throw error;
    } finally {
      if (!closed) onChange();
    }
  }

  async function watch(slot: Slot, process: ModuleProcess): Promise<void> {
    const exitCode = await process.exited;
    if (slot.process === process && slot.running) onExit(slot, exitCode);
  }

  function onExit(slot: Slot, exitCode: number): void {
    if (closed) return;
    slot.running = false;
    const decision = exitModule(slot.state, exitCode, slot.definition.restartPolicy, clock.now());
    slot.state = decision.state;
    if (decision.restartAfterMs !== undefined) {
      slot.cancelRestart = clock.after(decision.restartAfterMs, () => {
        slot.cancelRestart = undefined;
        // The program has become unstartable, which only a new image mends: it keeps backing off meanwhile.
        start(slot).catch(() => onExit(slot, COMMAND_NOT_STARTED));
      });
    }
    onChange();
  }

  async function halt(slot: Slot): Promise<number> {
    slot.cancelRestart?.();
    slot.cancelRestart = undefined;
    await slot.starting?.catch(() => undefined);
    if (!slot.running) return slot.state.exitCode;
    slot.running = false;
    return (slot.process as ModuleProcess).stop();
  }

  return {
    modules: slots,
    create(definition, image, state = CREATED) {
      const idle = { process: undefined, starting: undefined, running: false, cancelRestart: undefined };
      slots.set(definition.name, { definition, image, state, ...idle });
    },
    adopt(definition) {
      get(definition.name).definition = definition;
    },
    start: (name) => start(get(name)),
    async stop(name) {
      const slot = get(name);
      const exitCode = await halt(slot);
      slot.state = stopModule(slot.state, exitCode, clock.now());
      onChange();
    },
    remove(name) {
      slots.delete(name);
      onChange();
    },
    logs: (name) => get(name).process?.logs() ?? "",
    async close() {
      closed = true;
      await Promise.all([...slots.values()].map(halt));
    },
  };
}
