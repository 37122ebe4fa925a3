// Writes deployed content into the module twins of a device.
import type { Clock } from "../clock.ts";
import type { MergedContent } from "./deployment-merge.ts";
import type { Device, DeviceStore } from "./device-store.ts";
import { type ConfigurationStatuses, deployTwin } from "./twin.ts";

/** Carries content to a device's module twins. */
export interface Deployer {
  /**
   * Gives a device's modules their content and the configurations' statuses. Without content they stay as they are;
   * `$version` rises only where content changed; modules that a former deployment brought and this one lacks go.
   */
  deploy(device: Device, content: MergedContent | undefined, statuses: ConfigurationStatuses | undefined): void;
}

/** Creates the deployer for the devices of a store. */
export function createDeployer(devices: DeviceStore, clock: Clock): Deployer {
  return {
    deploy(device, content, statuses) {
      const now = clock.now();
      for (const moduleId of content?.keys() ?? []) {
        if (devices.module(device, moduleId) === undefined) devices.addModule(device, moduleId, true);
      }
      for (const entry of device.modules) {
        const { current, moduleId } = entry;
        if (current === undefined || moduleId === undefined) continue;
        const system = moduleId.startsWith("$");
        const section = content?.get(moduleId);
        if (content !== undefined && section === undefined && entry.deployed && !system) devices.removeModule(entry);
        else
          devices.write(
            entry,
            deployTwin(current, section, (system ? statuses : undefined) ?? current.configurations, now),
          );
      }
    },
  };
}
